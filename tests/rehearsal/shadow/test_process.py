"""The process of a candidate: what it is told comes in whole, however slowly."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.rehearsal.shadow import process
from sidecar.rehearsal.shadow.process import Seen, Worker
from sidecar.rehearsal.shadow.talk import HEAD, Asked, Begin, Who, frame

CALL = Asked(b"{}", Who("s", "", None, "", b"", None), "allow", "", False, "d")


@pytest.mark.parametrize("cut", [1, HEAD, HEAD + 1])
def test_calls_that_come_in_pieces_with_a_pause_between_are_read(monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    monkeypatch.setattr(process, "LOOK", 0.001)
    data = frame([CALL])

    async def test() -> list[list[Asked] | None]:
        reader = asyncio.StreamReader()
        worker = Worker(Begin("", "", "", {}), reader, 1)
        reader.feed_data(data[:cut])
        found = [await worker.next()]
        reader.feed_data(data[cut:] + data)
        found += [await worker.next(), await worker.next()]
        reader.feed_eof()
        return [*found, await worker.next()]

    assert asyncio.run(test()) == [[], [CALL], [CALL], None]


def test_a_candidate_whose_folder_is_elsewhere_is_not_looked_for_there(tmp_path: Path) -> None:
    elsewhere, policies = tmp_path / "elsewhere", tmp_path / "candidate" / "policies"
    for folder in (elsewhere, policies):
        folder.mkdir(parents=True)
    seen = Seen(policies.parent)
    (policies / "a.yaml").write_text("tools: {}")
    assert [seen.changed(now) for now in (10.0, 20.0, 30.0)] == [False, True, False]
    policies.rename(tmp_path / "aside")
    policies.symlink_to(elsewhere)
    assert [seen.changed(now) for now in (40.0, 50.0)] == [False, True]
    (elsewhere / "b.yaml").write_text("tools: {}")
    assert [seen.changed(now) for now in (60.0, 70.0, 80.0)] == [False, False, False]
