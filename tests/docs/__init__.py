"""Cuts across: what the documentation names is in the tree."""
