"""Cuts across: many sessions on one listener, many sidecars behind one address."""
