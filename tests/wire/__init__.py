"""Cuts across: a client, the sidecar, OPA and a server, as real programs."""
