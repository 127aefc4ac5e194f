"""The sidecars that run with one state folder: a small file for each, which is locked for as long as it lives.

`sidecar health` and `sidecar status` find by them whom to ask. The kernel drops the lock of a process that ended in
whatever way, so a file without a lock is of a sidecar that is gone. It imports no more than a probe can wait for.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

SCHEMA: Final = 1
FOLDER: Final = "instances"
MAX_BYTES: Final = 64 << 10
"""A longer file is none of ours."""
UNIX: Final = "unix:"
"""Begins the address of a unix socket."""


class Instance(NamedTuple):
    """One running sidecar. `instance` is its name among all sidecars, `started` a time as `2026-11-30T12:00:00Z`.

    `transport` and `upstream` are `stdio`, `http` or `sse`: how clients come, and how the server is spoken with.
    `telemetry` is `http://HOST:PORT` or `unix:PATH`, empty where there is none. `audit` is the path of the audit log as
    it was at the start, or `stderr`, `stdout` or `off`. `mode` is `enforce` or `monitor`, as it is now. `says` is what
    there is to know of its policy, in lines.
    """

    instance: str
    pid: int
    server: str
    version: str
    started: str
    transport: str
    upstream: str
    telemetry: str
    audit: str
    mode: str
    says: str = ""


class Note:
    """The file of this sidecar, `path`; it stands there until it is closed, or this process ends."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def renew(self, instance: Instance) -> None:
        """Say something else of this sidecar from now on. Raises OSError, and then the file says what it did."""
        new = _written(self.path, instance)
        os.close(self._descriptor)
        self._descriptor = new

    def close(self) -> None:
        """Remove it: this sidecar serves nobody any more."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)  # noqa: PTH108 - pathlib takes a probe long to import
        os.close(self._descriptor)


def note(state_dir: str, instance: Instance) -> Note:
    """Write down that this sidecar runs, and forget those that are gone. Raises OSError."""
    where = folder(state_dir)
    os.makedirs(where, mode=0o700, exist_ok=True)  # noqa: PTH103
    for path in _files(where):
        _forget(path)
    path = os.path.join(where, f"{instance.instance}.json")  # noqa: PTH118
    return Note(path, _written(path, instance))


def running(state_dir: str) -> list[Instance]:
    """The sidecars that run now with this state folder, in the order in which they started."""
    found = []
    for path in _files(folder(state_dir)):
        with contextlib.suppress(OSError), _opened(path) as descriptor:
            if not _is_dead(descriptor) and (one := _read(descriptor)) is not None:
                found.append(one)
    return sorted(found, key=lambda one: (one.started, one.instance))


def forget_ended(state_dir: str) -> None:
    """Remove the files of sidecars that are gone, where that is ours to do."""
    for path in _files(folder(state_dir)):
        _forget(path)


def folder(state_dir: str) -> str:
    """Where the files of running sidecars are."""
    return os.path.join(state_dir, FOLDER)  # noqa: PTH118


def default_state_dir() -> str:
    """The state folder of whoever names none."""
    home = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(home):  # noqa: PTH117
        # The specification: a path that is not absolute is to be ignored. It would be another one in each folder.
        home = os.path.join(os.path.expanduser("~"), ".local", "state")  # noqa: PTH111, PTH118
    return os.path.join(home, "intercept-sidecar")  # noqa: PTH118


def _written(path: str, instance: Instance) -> int:
    """The locked file at the path, which says what the sidecar is. Raises OSError."""
    # Whole and locked before it has its name, so that nobody reads half of it or takes it for a dead one's.
    new = os.path.join(os.path.dirname(path), f".{instance.instance}.new")  # noqa: PTH118, PTH120
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        line = json.dumps({"schema": SCHEMA, **instance._asdict()}, ensure_ascii=False) + "\n"
        data = line.encode("utf-8", "backslashreplace")
        if os.write(descriptor, data) < len(data):
            raise OSError(28, os.strerror(28))  # ENOSPC
        os.rename(new, path)  # noqa: PTH104
    except OSError:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(new)  # noqa: PTH108
        raise
    return descriptor


def _files(where: str) -> list[str]:
    try:
        names = os.listdir(where)  # noqa: PTH208
    except OSError:
        return []
    return [os.path.join(where, name) for name in sorted(names) if name.endswith(".json")]  # noqa: PTH118


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_dead(descriptor: int) -> bool:
    """True if nobody holds the file. We hold it then, together with others who look, until we close it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _forget(path: str) -> None:
    with contextlib.suppress(OSError), _opened(path) as descriptor:
        # Whoever looks at a folder of another user must not remove what that user made our folder lead to.
        # What was renewed since we opened it is another file, of a sidecar that lives. Its old one lost the lock only
        # when the new one had the name.
        still = _is_dead(descriptor) and os.path.samestat(os.fstat(descriptor), os.lstat(path))
        if still and _read(descriptor) is not None:
            os.unlink(path)  # noqa: PTH108


def _read(descriptor: int) -> Instance | None:
    """What a file says; None where it is none of ours, or of a later form."""
    try:
        said: Any = json.loads(os.read(descriptor, MAX_BYTES))
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("schema") != SCHEMA:
        return None
    values: dict[str, Any] = {name: said.get(name, Instance._field_defaults.get(name)) for name in Instance._fields}
    if not isinstance(values["pid"], int):
        return None
    if not all(isinstance(value, str) for name, value in values.items() if name != "pid"):
        return None
    return Instance(**values)
