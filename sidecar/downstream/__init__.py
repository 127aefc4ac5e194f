"""Where clients are: they move messages, and know nothing of what is in them."""
