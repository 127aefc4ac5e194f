"""Who may call our HTTP listener: checks of Host and Origin, and authentication by token or JWT."""
