"""Two minutes of everything that can be seen: real sidecars, calls of every fate, and what fails meanwhile."""
