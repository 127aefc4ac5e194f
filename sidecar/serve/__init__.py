"""The ways to serve clients: one on standard input and output, or many over HTTP."""
