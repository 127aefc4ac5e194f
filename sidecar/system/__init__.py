"""What the machine gives: files, processes, tasks, lines, memory. Knows no protocol and no policy."""
