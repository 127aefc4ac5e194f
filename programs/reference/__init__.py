"""Writes docs/command-line.md from the code: `make reference`. The words are those of the help texts."""
