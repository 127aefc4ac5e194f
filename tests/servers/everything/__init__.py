"""An MCP server with every feature: the fixtures that the official conformance suite asks for, and some of our own.

It speaks every revision that the SDK speaks, over streamable HTTP (with sessions, resumption and polling), the older
SSE transport, and standard input and output. One file for each area of the protocol; `server.py` puts them together.
"""
