"""Cuts across: the same tests directly and through the sidecar, over every pair of transports.

Nobody on either side sees it: what a client gets on a way is compared with what a server in its own process answers.
"""
