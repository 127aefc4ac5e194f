"""`make conformance`: the official MCP conformance suite against a server, directly and through the sidecar."""
