"""Who calls: hosts, origins, tokens."""
