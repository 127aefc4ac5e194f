"""Other programs, run to their end: git, podman, skopeo, uv. What they say is shown without secrets."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deploy.release.refused import Refused

_USERINFO = re.compile(r"://[^/\s]+@")
_NOT_HANDED_ON = re.compile(
    r"UV_PUBLISH_(TOKEN|PASSWORD)|GIT_(DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|NAMESPACE)|PYTHONPATH|HATCH_.*"
    r"|GO(FLAGS|EXPERIMENT|FIPS140)"
)
"""Secrets that only one program needs, and what shows a program another checkout, or has it build something else."""
_MOST = 4000
"""Characters of what a program said that are shown: its end."""


def run(
    words: Sequence[str | Path], folder: Path, *, seconds: float = 600, secrets: Iterable[str] = (),
    environment: Mapping[str, str] | None = None, shown: bool = False,
) -> str:  # fmt: skip
    """What a program prints; empty where it is `shown` as it comes. `environment` is added to what we hand on of ours.

    Raises `Refused` with what it said where it fails or does not end.
    """
    kept = None if shown else subprocess.PIPE
    ours = {name: value for name, value in os.environ.items() if not _NOT_HANDED_ON.fullmatch(name)}
    try:
        done = subprocess.run(
            words, cwd=folder, env={**ours, **(environment or {})}, stdin=subprocess.DEVNULL, timeout=seconds,
            stdout=kept, stderr=kept, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
    except OSError as error:
        raise Refused(f"{words[0]} cannot be run: {error.strerror}; install it, or put it on the PATH") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"{named(words)} did not end within {seconds:g} s") from None
    if done.returncode:
        said = masked(((done.stderr or "").strip() or (done.stdout or "").strip()), secrets)[-_MOST:]
        raise Refused(f"{named(words)} failed: {said or f'exit status {done.returncode}'}")
    return done.stdout or ""


def masked(text: str, secrets: Iterable[str]) -> str:
    """A text without the secrets, and without names and passwords in addresses."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return _USERINFO.sub("://***@", text)


def named(words: Sequence[str | Path]) -> str:
    """A command by its program and its verb: the rest may be long."""
    verb = next((str(word) for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", str(word))), "")
    return f"{Path(words[0]).name} {verb}".strip()
