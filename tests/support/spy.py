"""A server's program that first looks at its parent as far as the kernel lets it, then runs another program.

`spy.py REPORT COMMAND...`: `REPORT` gets its own environment and what it found about its parent, as JSON.
"""

import json
import os
import sys
from pathlib import Path


def found(name: str) -> str:
    """What a file about our parent holds, or why it cannot be read; of its memory only whether it can be opened."""
    try:
        with Path(f"/proc/{os.getppid()}/{name}").open("rb") as file:
            return "open" if name == "mem" else file.read(1 << 16).decode("latin-1")
    except OSError as error:
        return str(error.strerror)


report, *command = sys.argv[1:]
seen = {"own": dict(os.environ), "environ": found("environ"), "mem": found("mem")}
Path(report).write_text(json.dumps(seen))
os.execv(sys.executable, [sys.executable, *command])
