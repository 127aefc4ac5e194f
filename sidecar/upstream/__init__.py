"""Transports to MCP servers: a child process, or a remote server. What may pass is judged in `session/`."""
