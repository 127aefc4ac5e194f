"""The policy engine: an Open Policy Agent that we start, feed, watch and ask. If it cannot answer, the answer is no."""
