"""Cuts across: HTTP on the wire, with clients and servers that lie."""
