"""What an operator sees of real sidecars in real tools: `make observability-test`."""
