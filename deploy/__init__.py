"""What brings the sidecar to where it runs: images, manifests, dashboards, wheels, releases."""
