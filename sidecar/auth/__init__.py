"""Who may call our HTTP listener: names of hosts, origins, tokens. Plain values in, plain values out; no HTTP here."""
