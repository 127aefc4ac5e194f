"""`make demo`: an agent that trades on a stub exchange through the real OKX server, with the sidecar between them."""
