"""Messages of MCP as values. No process is started here."""
