"""Clients over HTTP in front of an HTTP server."""
