"""Transports that serve MCP clients: stdio and HTTP. What may pass is judged in `session/`."""
