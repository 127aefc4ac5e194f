"""The wheel that carries OPA: what is built into it, and what it says of its contents."""
