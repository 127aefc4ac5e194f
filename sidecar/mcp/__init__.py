"""Messages of MCP as values: JSON-RPC, the shapes that we judge, the headers that mirror them. No I/O."""
