"""Mirrors `sidecar/rehearsal/diff`: two policies compared, against adversaries who edit one."""
