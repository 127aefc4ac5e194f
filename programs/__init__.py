"""What developers run beside the tests: the demo, measurements, load, the official conformance suite."""
