"""The policy engine, piece by piece and whole."""
