"""The machine: files, processes, tasks, lines, memory. Knows no protocol and no policy."""
