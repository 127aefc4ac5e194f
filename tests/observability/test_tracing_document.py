"""docs/tracing.md: its commands as they stand there, and its tables as the code has it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from sidecar.mcp.tool_call import Outcome
from tests.observe.decided import READY, decided, denied
from tests.observe.traces.spans import sent, settled, spans_of, traced
from tests.support import ROOT
from tests.support.document_commands import command_blocks, run_commands
from tests.support.otel_collector import PROGRAM
from tests.support.ports import free_port

pytestmark = pytest.mark.observability

TEXT: Final = (ROOT / "docs" / "tracing.md").read_text(encoding="utf-8")
TRY, LOOK = command_blocks(TEXT)


def test_the_commands_show_what_the_document_says(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "otelcol").symlink_to(PROGRAM)
    lines = run_commands(f"{TRY}{LOOK}".replace("4318", str(free_port())), tmp_path, programs)
    (said,) = re.findall(r"^# (.*)$", LOOK, re.M)
    assert lines[-1].split("\t") == re.split(r"\s{2,}", said)
    assert "Nobody pays here" in lines[0]


def test_every_attribute_and_event_of_a_span_is_in_the_document_and_no_other() -> None:
    events = [
        READY, traced(decision_id="i-1", approval="apr_1", engine_id="opa-1"),
        settled("i-1", Outcome.UNKNOWN, "status", 503), denied(decision_id="i-2"), decided(decision_id="i-3"),
    ]  # fmt: skip
    spans = [sent(span) for span in spans_of(*events, end=True)]
    names = {name for span in spans for one in (span, *span["events"]) for name in one["attributes"]}
    known = {"mcp_policy.class", "mcp_policy.severity", *names}
    written = set(re.findall(r"`((?:mcp|gen_ai|jsonrpc|error|mcp_policy)\.[a-z_.]+)`", TEXT))
    assert known == written
    happened = {one["name"] for span in spans for one in span["events"]}
    assert happened == set(re.findall(r"^\| `(decision|claim|upstream)` \|", TEXT, re.M))
