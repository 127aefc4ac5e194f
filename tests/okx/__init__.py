"""The policies for the OKX server, in front of the real server and a stub of its exchange."""
