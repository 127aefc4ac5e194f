"""What serves clients, without sockets."""
