"""Approvers and their tokens, in a file as an operator writes it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import yaml

ALICE, BOB, CAROL = "a11ce" * 12, "b0b" * 20, "ca401" * 12
"""Tokens: Alice may answer everything, Bob too, Carol only what begins with `cancel_` on the server okx."""


def entry(name: str, token: str, **more: object) -> dict[str, object]:
    """An approver as the file has one."""
    return {"name": name, "token_sha256": hashlib.sha256(token.encode()).hexdigest(), **more}


EVERYBODY = (
    entry("alice", ALICE),
    entry("bob", BOB, principal={"subject": "bob@example.com", "issuer": "https://login.example.com"}),
    entry("carol", CAROL, servers=["okx"], tools=["cancel_*"]),
)


def write(path: Path, *entries: dict[str, object]) -> Path:
    """Put approvers into a file, in one step, so that nobody reads half of it."""
    return put(path, yaml.safe_dump({"approvers": list(entries)}))


def put(path: Path, content: str) -> Path:
    """Put a text into a file that only we may read."""
    new = path.with_suffix(".new")
    new.touch(0o600)
    new.write_text(content)
    os.replace(new, path)  # noqa: PTH105 - the same in one word
    return path
