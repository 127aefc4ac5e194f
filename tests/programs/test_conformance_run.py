"""What the official suite writes becomes checks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from programs.conformance.compare import Check, Key
from programs.conformance.run import Failed, of_scenario, read

WRITTEN = [
    {"id": "tools-list", "name": "ToolsList", "status": "SUCCESS"},
    {"id": "stream", "name": "Stream", "status": "INFO"},
    {"id": "reject", "name": "Reject", "status": "FAILURE", "errorMessage": "it did not"},
    {"id": "reject", "name": "Reject", "status": "SUCCESS"},
]


def test_checks_of_one_name_are_told_apart_and_what_only_informs_is_left_out() -> None:
    assert of_scenario("2025-11-25", "tools", WRITTEN) == [
        Check(Key("2025-11-25", "tools", "tools-list", "ToolsList", 1), "SUCCESS"),
        Check(Key("2025-11-25", "tools", "reject", "Reject", 1), "FAILURE", "it did not"),
        Check(Key("2025-11-25", "tools", "reject", "Reject", 2), "SUCCESS"),
    ]


def test_the_scenario_is_read_from_the_name_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "server-tools-call-2-2026-11-26T00-13-09-434Z"
    folder.mkdir()
    (folder / "checks.json").write_text(json.dumps(WRITTEN))
    assert {check.key.scenario for check in read("2025-11-25", tmp_path)} == {"tools-call-2"}


def test_a_folder_that_cannot_be_told_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "server-tools").mkdir()
    (tmp_path / "server-tools" / "checks.json").write_text("[]")
    with pytest.raises(Failed, match="server-tools"):
        read("2025-11-25", tmp_path)
