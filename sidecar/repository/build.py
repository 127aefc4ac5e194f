"""Builds the bundle that travels: a policy with its files, signed if there is a key; the same bytes each time."""

from __future__ import annotations

from sidecar.engine.sign import SigningKey, signed
from sidecar.policy import archive
from sidecar.policy.archive import TO_TRAVEL
from sidecar.policy.bundle import SOURCES, of_commit
from sidecar.repository.sources import write_sources
from sidecar.repository.subject import Subject


def packed(subject: Subject, key: SigningKey | None, commit: str = "") -> bytes:
    """The archive of a policy, which names the commit that it was built from.

    Nothing in it depends on when, where or by whom it is made, but a signature by a key that does not repeat its own.
    """
    files = {**of_commit(subject.bundle, commit).files, SOURCES: write_sources(subject.found)}
    return archive.write(files if key is None else signed(files, key), TO_TRAVEL)
