"""Cuts across: servers and clients that other people wrote, with the sidecar between them and ours."""
