"""Two policies compared: which calls they decide otherwise, and what no single call shows."""
