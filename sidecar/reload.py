"""Policy files that change while the sidecar runs: a good policy takes effect within a second, a bad one never.

Files are looked at, not subscribed to: a look costs microseconds, and it works for every way in which files are
replaced (editors that write in steps, `mv`, the symlinks of a Kubernetes ConfigMap, network file systems).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from sidecar.engine import binary
from sidecar.engine.fed import FedEngine
from sidecar.errors import PolicyError, SidecarError
from sidecar.events import Emit, Reloaded
from sidecar.load import load
from sidecar.policy.bundle import Bundle, build
from sidecar.policy.compile import compile_policy

LOOK: Final = 0.2
"""Seconds between two looks at the files."""
SETTLED: Final = 0.1
"""Seconds for which a changed file must stay as it is: editors write in several steps."""

Signature: TypeAlias = tuple[tuple[int, ...] | None, ...]


def prepare(paths: Sequence[Path], opa: Path, serial: int) -> tuple[Bundle, list[str]]:
    """The bundle of the files, tried on the engine's own programs, and warnings to show.

    Raises `PolicyError` with every problem, `StartError` when the engine does not accept what was compiled.
    """
    policy, warnings = load(paths, lambda: opa)
    bundle = build(compile_policy(policy), serial)
    binary.check(opa, bundle.files)
    return bundle, [str(warning) for warning in warnings]


@dataclass(frozen=True, slots=True)
class Reloader:
    """Brings what changes in `paths` into force; `changed` is told the old and the new bundle when it is.

    `seen` is how the files looked before the policy in force was read from them.
    """

    paths: Sequence[Path]
    opa: Path
    server: str
    seen: Signature
    local: FedEngine
    emit: Emit
    check: Callable[[Bundle], None]
    changed: Callable[[Bundle, Bundle], None]

    async def watch(self) -> None:
        """Look at the files, again and again, without end."""
        seen = self.seen
        while True:
            await asyncio.sleep(LOOK)
            found = self._signature()
            if found == seen:
                continue
            while found != seen:
                seen = found
                await asyncio.sleep(SETTLED)
                found = self._signature()
            await self._reload()

    async def _reload(self) -> None:
        old = self.local.engine.bundle
        try:
            # Reading and compiling take up to seconds for a large policy, and no call waits for them.
            bundle, warnings = await asyncio.to_thread(self._prepare, old.serial + 1)
            if bundle.revision == old.revision:
                return
            self.check(bundle)
            await asyncio.to_thread(binary.trial, self.opa, bundle.files)
            await self.local.adopt(bundle)
        except PolicyError as error:
            self._say(accepted=False, text="; ".join(error.problems))
        except (SidecarError, OSError) as error:
            self._say(accepted=False, text=str(error))
        else:
            self._say(accepted=True, text="; ".join(warnings))
            self.changed(old, bundle)

    def _prepare(self, serial: int) -> tuple[Bundle, list[str]]:
        for path in self.paths:
            if _says_nothing(path):
                # Good at the start, where somebody chose it; here an editor has only begun to write.
                advice = "write `tools: {}` for a policy that allows everything"
                raise PolicyError([f"{path}: says nothing any more: {advice}"])
        return prepare(self.paths, self.opa, serial)

    def _say(self, *, accepted: bool, text: str) -> None:
        self.emit(Reloaded(self.server, accepted, text))

    def _signature(self) -> Signature:
        return signature(self.paths)


def signature(paths: Sequence[Path]) -> Signature:
    """How files look: another signature means that one of them changed."""
    return tuple(_look_at(path) for path in paths)


def _says_nothing(path: Path) -> bool:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return False  # why it cannot be read is said by whoever reads it
    return all(not line.strip() or line.lstrip().startswith("#") for line in lines)


def _look_at(path: Path) -> tuple[int, ...] | None:
    """What changes whenever a file does; None when it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116 - follows the symlinks of a ConfigMap, as pathlib does, at half the cost
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
