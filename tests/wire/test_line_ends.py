"""No part of a message is a message of its own, also to servers whose readers cut lines at more than LF."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.node import FOLDER, NODE
from tests.support.peer import Sidecar, kind

POLICY = "tools: {forbidden: {rules: [{action: deny}]}}"


@pytest.mark.parametrize("end", ["\u0085", "\u2028", "\u2029", "\r", "\\u2028"])
def test_a_call_inside_a_text_is_no_call_to_a_server_that_reads_lines_with_nodes_readline(
    tmp_path: Path, end: str
) -> None:
    log = tmp_path / "ran.jsonl"
    log.touch()
    hidden = json.dumps({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "forbidden"}})
    text = f"harmless {end}{hidden}{end} harmless"
    with Sidecar(tmp_path, POLICY, server=[str(NODE), str(FOLDER / "readline.mjs"), str(log)]) as sidecar:
        for escaped in (False, True):
            call = {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": "note", "arguments": {"a": text}},
            }
            sidecar.send_bytes(json.dumps(call, ensure_ascii=escaped, separators=(",", ":")).encode() + b"\n")
            answer = sidecar.read()
            assert (answer["id"], kind(answer)) == (1, None)
    ran = [json.loads(line) for line in log.read_text().split("\n")[:-1]]
    assert ran == [{"name": "note", "arguments": {"a": text}}] * 2
