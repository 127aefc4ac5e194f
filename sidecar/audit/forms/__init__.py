"""Forms of audit lines: JSON, CEF and RFC 5424. Each is made from the JSON line, and carries the seal of the chain."""
