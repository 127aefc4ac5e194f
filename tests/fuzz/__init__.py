"""What is read from outside is given anything: it is refused in our words, and says the same however it is cut."""
