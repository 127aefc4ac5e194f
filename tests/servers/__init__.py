"""Servers that tests put behind the sidecar."""
