"""HTTP/1.1 and server-sent events: values and bytes, a server and a client around httptools' parser.

No MCP, no JSON-RPC, no policy.
"""
