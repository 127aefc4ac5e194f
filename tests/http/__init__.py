"""HTTP over real sockets."""
