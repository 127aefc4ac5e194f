"""HTTP clients of servers that do not speak streamable HTTP: we keep their sessions."""
