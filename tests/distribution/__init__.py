"""Mirrors `sidecar/distribution`: bundles that travel, from a source into force."""
