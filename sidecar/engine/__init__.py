"""The policy engine: an Open Policy Agent, started by us or by others, fed with our bundle, watched and asked.

Without its answer the answer is no.
"""
