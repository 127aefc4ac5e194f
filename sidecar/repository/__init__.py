"""Policy files: read, checked, compiled, watched, put in force."""
