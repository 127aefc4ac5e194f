"""What is shipped: the wheel, the manifests, the image; and the documentation that says how to use them."""
