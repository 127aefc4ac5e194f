"""A call in, a verdict out."""
