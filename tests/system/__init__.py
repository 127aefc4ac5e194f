"""The machine: files, processes, lines, memory."""
