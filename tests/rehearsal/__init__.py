"""Cases of a policy repository: read, judged, told."""
