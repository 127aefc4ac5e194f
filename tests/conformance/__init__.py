"""Cuts across: recorded cases of policies and calls, through `sidecar run`, and policies that must be rejected."""
