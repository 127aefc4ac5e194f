"""What was used of what is limited: claimed before a call is forwarded, settled once when it ended."""
