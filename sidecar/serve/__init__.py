"""The sidecar built from its settings and run: one client on standard input and output, or many over HTTP."""
