"""Cuts across: how much work one call makes on the straight paths, counted from outside and never timed.

Each test names a bound that holds today. Work that grows fails here before it is seen in a benchmark.
"""
