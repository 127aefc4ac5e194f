"""Clients over HTTP in front of a server that is not HTTP's own."""
