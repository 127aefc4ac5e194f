"""The policy engine: an Open Policy Agent that we start, feed, watch and ask. Without its answer the answer is no."""
