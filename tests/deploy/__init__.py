"""Cuts across: what is shipped (wheel, manifests, image), and the documentation that says how to use them."""
