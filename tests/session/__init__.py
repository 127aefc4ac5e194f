"""What happens to each message between one client and one server, without processes."""
