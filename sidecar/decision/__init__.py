"""Questions to the engine, and the strict reading of its answers."""
