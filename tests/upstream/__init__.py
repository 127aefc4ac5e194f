"""Links to servers."""
