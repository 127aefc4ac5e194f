"""A guardian of process groups: a small shell that ends them if we are killed, because then we cannot.

It has nothing but a pipe from us, on which it reads the groups. The pipe ends when we do.
"""

from __future__ import annotations

import os
from typing import Final

from sidecar.system.operator_log import fields, log

SHELL: Final = "/bin/sh"
# Each line names all groups. A line that was cut when we died is ignored.
_SCRIPT: Final = """\
trap '' HUP INT QUIT TERM
while read -r line; do groups=$line; done
for group in $groups; do kill -s TERM -- -"$group"; done
[ -z "$groups" ] || sleep 2
for group in $groups; do kill -s KILL -- -"$group"; done
"""


class Guardian:
    """Ends the groups that it watches once this process is gone: SIGTERM, then SIGKILL after two seconds."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._pipe: int | None = None
        self._is_missing = False  # logged once

    def watch(self, group: int) -> None:
        """End this group too."""
        self._groups.add(group)
        self._tell()

    def release(self, group: int) -> None:
        """Watch this group no more: it has ended, and its number may be used again."""
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
                # The shell was ended by somebody.
                os.close(self._started())
                self._pipe = None
                os.write(self._started(), line)
        except OSError as error:
            self._is_missing = True
            log.warning(
                "what the MCP server starts may outlive us if we are killed: cannot run %s: %s", SHELL, error.strerror,
                extra=fields("guardian_missing", cause=error.strerror),
            )  # fmt: skip

    def _started(self) -> int:
        """The pipe to the shell."""
        if self._pipe is None:
            reading, self._pipe = os.pipe()
            try:
                # In a group of its own, because ours may be killed as a whole; and without our streams, which have to
                # end with us.
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
