"""Recordings of decided calls: the line of one, what is kept of a call, how files are written and read."""
