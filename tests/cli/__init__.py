"""The command line's own rules."""
