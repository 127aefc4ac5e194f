"""`make bench`: what the sidecar adds to a call, measured beside the direct way, a bare relay and other proxies."""
