"""A guard over process groups: a small shell that ends them when we are killed, because then nobody else can.

It holds nothing but the end of a pipe from us, over which it hears which groups there are. The pipe's end is ours.
"""

from __future__ import annotations

import logging
import os
from typing import Final

log = logging.getLogger("sidecar")

SHELL: Final = "/bin/sh"
# Each line names all groups that there are. One that we could not finish writing counts for nothing.
_SCRIPT: Final = """\
trap '' HUP INT QUIT TERM
while read -r line; do groups=$line; done
for group in $groups; do kill -s TERM -- -"$group"; done
[ -z "$groups" ] || sleep 2
for group in $groups; do kill -s KILL -- -"$group"; done
"""


class Guardian:
    """Ends the groups that it watches when this process is gone: SIGTERM, and SIGKILL after two seconds."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._pipe: int | None = None
        self._is_missing = False  # it is then said once

    def watch(self, group: int) -> None:
        """End this group too."""
        self._groups.add(group)
        self._tell()

    def release(self, group: int) -> None:
        """This group is no more: its number may soon be another's."""
        if group in self._groups:
            self._groups.discard(group)
            self._tell()

    def _tell(self) -> None:
        if self._is_missing:
            return
        line = f"{' '.join(map(str, sorted(self._groups)))}\n".encode()
        try:
            try:
                os.write(self._started(), line)
            except BrokenPipeError:
                # Somebody ended it.
                os.close(self._started())
                self._pipe = None
                os.write(self._started(), line)
        except OSError as error:
            self._is_missing = True
            log.warning(
                "what the MCP server starts may outlive us if we are killed: cannot run %s: %s", SHELL, error.strerror
            )

    def _started(self) -> int:
        """The pipe to the shell."""
        if self._pipe is None:
            reading, self._pipe = os.pipe()
            try:
                # Not of our group, which may be killed as a whole, and without our streams, whose end is ours.
                os.posix_spawn(
                    SHELL, [SHELL, "-c", _SCRIPT, "intercept-guardian"], {"PATH": os.environ.get("PATH", os.defpath)},
                    setpgroup=0, file_actions=[
                        (os.POSIX_SPAWN_DUP2, reading, 0),
                        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                    ],
                )  # fmt: skip
            finally:
                os.close(reading)
        return self._pipe
