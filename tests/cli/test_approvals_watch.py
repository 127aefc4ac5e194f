"""`sidecar approvals list --watch`: on a real terminal, and in a pipe."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli.approvals_table import columns
from sidecar.ledger.approvals import Answer
from tests.cli.asking import asked, pending, store, used, using
from tests.cli.terminals import OURS, Terminal, shown_on_terminal
from tests.cli.test_approvals_table import HOSTILE
from tests.support import SIDECAR
from tests.support.peer import SECONDS
from tests.support.signals import with_default_signals


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    pending(folder)
    return folder


def command(state: Path, *words: str) -> list[str]:
    return with_default_signals([str(SIDECAR), "approvals", "list", "--watch", "--state-dir", str(state), *words])


def decide(state: Path, id_: str, verdict: Any = "approve") -> None:
    answer = Answer("bob", time.time(), "page", "::1", verdict)
    using(state, lambda ledger: ledger.approvals.decide(id_, answer))


def terminal(state: Path, columns: int = 120, lines: int = 24) -> AbstractContextManager[Terminal]:
    return shown_on_terminal(command(state), columns, lines)


def test_the_table_follows_the_store_until_q(state: Path) -> None:
    with terminal(state) as shown:
        shown.until(lambda frame: "No approval: what waits for a person appears here." in frame, "an empty queue")
        [id_] = pending(state, asked())
        shown.until(lambda frame: f"{id_}  pending" in frame and "1 pending, 1 in all" in frame, "the call")
        decide(state, id_)
        shown.until(lambda frame: f"{id_}  approved" in frame, "the approval")
        shown.type(b"q")
        assert shown.end() == 0
        assert shown.seen.startswith("\x1b[?1049h\x1b[?25l")
        assert shown.seen.endswith("\x1b[?25h\x1b[?1049l")
        assert termios.tcgetattr(shown.slave) == shown.before


@pytest.mark.parametrize(("number", "status"), [(None, 130), (signal.SIGTERM, 0)])
def test_it_leaves_the_terminal_as_it_was_however_it_ends(number: int | None, status: int, state: Path) -> None:
    with terminal(state) as shown:
        shown.until(lambda frame: "q: end" in frame, "the table")
        if number is None:
            shown.type(b"\x03")
        else:
            shown.process.send_signal(number)
        assert shown.end() == status
        assert "\x1b[?25h\x1b[?1049l" in shown.seen
        assert "Traceback" not in shown.seen
        assert termios.tcgetattr(shown.slave) == shown.before


def test_a_store_that_goes_away_ends_it_and_is_said(state: Path) -> None:
    with terminal(state) as shown:
        shown.until(lambda frame: "q: end" in frame, "the table")
        for file in state.glob("counters.db*"):
            file.unlink()
        assert shown.end() == 1
        _, said = shown.seen.split("\x1b[?25h\x1b[?1049l")
        assert "was removed or replaced" in said


def test_nothing_of_a_call_reaches_the_terminal_and_no_line_is_folded(state: Path) -> None:
    hostile = asked({"x": HOSTILE, "y": "日本" * 50}, tool=HOSTILE, asker=HOSTILE)
    pending(state, *(asked() for _ in range(30)), hostile)  # the newest is on top
    with terminal(state, columns=90, lines=12) as shown:
        frame = shown.until(lambda frame: "31 pending" in frame, "the calls")
        assert all(line.isprintable() for line in frame.split("\n"))
        assert r"a\u001b[2J" in frame
        assert max(map(columns, frame.split("\n"))) <= 90
        assert len(frame.rstrip("\n").split("\n")) < 12
        shown.type(b"q")
        assert shown.end() == 0
        assert "\x1b" not in OURS.sub("", shown.seen)


class Pipe:
    """The command with its output in a pipe."""

    def __init__(self, state: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            command(state, *words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        """The next line."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], SECONDS)[0], "no line came"
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> tuple[int, str]:
        assert self.process.stderr is not None
        status = self.process.wait(SECONDS)
        return status, self.process.stderr.read()


@contextmanager
def pipe(state: Path, *words: str) -> Iterator[Pipe]:
    running = Pipe(state, *words)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(SECONDS)
        for stream in (running.process.stdout, running.process.stderr):
            assert stream is not None
            stream.close()


def test_in_a_pipe_each_change_is_a_line_also_what_becomes_of_a_call_in_the_end(state: Path) -> None:
    call = asked()
    [id_] = pending(state, call)
    with pipe(state) as out:
        assert out.line().split("  ")[1:4] == [id_, "pending", "cancel_order"]
        decide(state, id_)
        assert out.line().split("  ")[1:3] == [id_, "approved"]
        used(state, call)
        assert out.line().split("  ")[1:3] == [id_, "in use"]
        using(state, lambda ledger: ledger.approvals.settle(id_, "consumed"))
        assert out.line().split("  ")[1:3] == [id_, "consumed"]
        out.process.send_signal(signal.SIGTERM)
        assert out.end() == (0, "")


def test_in_a_pipe_each_change_can_be_a_json_object(state: Path) -> None:
    [id_] = pending(state, asked({"x": HOSTILE}))
    with pipe(state, "--json") as out:
        line = out.line()
        assert line.isprintable()
        assert json.loads(line)["arguments"] == {"x": HOSTILE}
        decide(state, id_, "deny")
        found = json.loads(out.line())
        assert (found["id"], found["state"], found["answers"][0]["by"]) == (id_, "denied", "bob")


def test_whoever_closes_the_pipe_ends_it(state: Path) -> None:
    pending(state, asked())
    with pipe(state) as out:
        out.line()
        assert out.process.stdout is not None
        out.process.stdout.close()
        pending(state, asked())
        assert out.end() == (0, "")


def test_a_store_that_goes_away_ends_the_pipe_too(state: Path) -> None:
    pending(state, asked())
    with pipe(state) as out:
        out.line()
        for file in store(state).parent.glob("counters.db*"):
            file.unlink()
        status, said = out.end()
        assert status == 1
        assert "was removed or replaced" in said
