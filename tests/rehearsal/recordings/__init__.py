"""Mirrors `sidecar/rehearsal/recordings`: what is kept of a call, and how it is written."""
