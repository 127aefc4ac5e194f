"""The web page where people approve: what it shows, and what its forms do."""
