"""Where servers are: they move messages, and know nothing of what is in them."""
