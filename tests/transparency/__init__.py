"""The same tests directly and through the sidecar, over every pair of transports: nobody on either side sees it.

What a client gets on a way is compared with what a server in the client's own process answers.
"""
