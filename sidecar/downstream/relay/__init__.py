"""HTTP clients of a server that speaks streamable HTTP: each request becomes one request to the server."""
