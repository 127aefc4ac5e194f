"""Calls judged and sent nowhere: a repository's tests, the differences of two policies, recordings, candidates."""
