"""Counters of limits: claimed before a call is forwarded, refunded afterwards if that is due."""
