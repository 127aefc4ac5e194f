"""Bundles in an OCI registry: its API, its logins, its manifests, as a source and as a destination."""
