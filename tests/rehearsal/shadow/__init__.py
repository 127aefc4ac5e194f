"""Mirrors `sidecar/rehearsal/shadow`: a candidate beside the live policy."""
