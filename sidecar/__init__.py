"""A policy sidecar for the Model Context Protocol: every tool call is decided before it reaches the server."""

__version__ = "0.2.0"
