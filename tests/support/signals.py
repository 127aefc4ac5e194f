"""What signals do in a program that a test starts: what they do by default, wherever the tests themselves run.

A shell starts what runs in its background with SIGINT ignored, and `nohup` with SIGHUP; children inherit that.
"""

from __future__ import annotations

from collections.abc import Sequence


def with_default_signals(command: Sequence[object]) -> list[str]:
    """The same command, started with every signal at its default. `env` becomes it, so the process is its own."""
    return ["env", "--default-signal", *map(str, command)]
