"""How much work one call makes on the straight paths: counted from outside, never timed; a busy machine is no excuse.

Each test names a bound that holds today. Work that grows fails here before it is seen in a benchmark.
"""
