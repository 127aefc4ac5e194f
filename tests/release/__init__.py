"""Cuts across: a release, from a commit to what others download, and attacks on it."""
