"""A release: built from one commit, verified, published. `python -m deploy.release --help` is its command line."""
