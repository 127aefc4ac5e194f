"""A candidate policy in shadow: asked about the same calls, in a process of its own, and heeded by nobody."""
