"""One client on stdio in front of one child: what the one does not read is not heaped up here."""

from __future__ import annotations

import os
import re
import select
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.listener import sidecar
from tests.support.peer import SECONDS, Peer, until

LARGE = ROOT / "tests" / "servers" / "large.py"
SIZE = 15 << 20
COUNT = 32
"""Twice as much in all as is held for one answer that is being read and one that waits, some copies of each."""


@pytest.mark.slow
def test_a_client_that_reads_nothing_of_large_answers_holds_up_the_server_and_gets_them_all_later(
    tmp_path: Path,
) -> None:
    program = [*sidecar(tmp_path, "default: allow\ntools: {}\n"), "--", sys.executable, "-S", "-E", str(LARGE)]
    with Peer(program, tmp_path) as peer:
        peer.initialize()
        for number in range(COUNT):
            peer.post("tools/call", {"name": "large", "arguments": {"size": SIZE, "number": number}})
        # By then the child has begun with its second answer and is not read any more.
        until(lambda: _peak(peer) > 3 * SIZE, what="an answer that waits for the client")
        assert _lines(peer, COUNT) > COUNT * (SIZE - (1 << 16))
        assert _peak(peer) < COUNT * SIZE // 2


def _lines(peer: Peer, count: int) -> int:
    """Read so many lines; how many bytes they have."""
    assert peer.process.stdout is not None
    size = 0
    while count > 0 and select.select([peer.process.stdout], [], [], SECONDS)[0]:
        data = os.read(peer.process.stdout.fileno(), 1 << 20)
        size += len(data)
        count -= data.count(b"\n")
    assert count == 0
    return size


def _peak(peer: Peer) -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{peer.process.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10
