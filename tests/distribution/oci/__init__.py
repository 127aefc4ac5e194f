"""Mirrors `sidecar/distribution/oci`: registries, good ones and those that lie."""
