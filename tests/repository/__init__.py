"""Policy files: read, watched, put in force."""
