"""A call in, a verdict out: asked, reserved, told."""
