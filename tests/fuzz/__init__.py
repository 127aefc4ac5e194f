"""Cuts across: what is read from outside is given anything.

It is refused in our words, and says the same however it is cut.
"""
