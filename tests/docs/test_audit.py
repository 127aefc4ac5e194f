"""docs/audit.md: its tables are those of the schema and of the forms, its recipes run, its examples are real."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from sidecar.audit.forms import words
from sidecar.audit.forms.cef import KEYS, LABELLED, Cef
from sidecar.audit.forms.rfc5424 import Rfc5424
from sidecar.mcp.tool_call import Outcome
from sidecar.mcp.trace_context import TraceContext
from tests.audit.schema import SCHEMA, valid
from tests.audit.test_lines import SIGN_IN, every_kind, settled, written
from tests.docs.audit_fields import BEGIN, END, tables
from tests.observe.decided import answer, changed, decided

TEXT: Final = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_the_tables_of_members_are_those_of_the_schema() -> None:
    between = TEXT.partition(BEGIN)[2].partition(END)[0]
    assert between == tables(), "run python -m tests.docs.audit_fields"


def test_every_member_of_the_schema_has_a_meaning() -> None:
    for definition in SCHEMA["$defs"].values():
        for name, described in definition.get("properties", {}).items():
            target = SCHEMA["$defs"][described["$ref"].rpartition("/")[2]] if "$ref" in described else {}
            assert (target | described).get("description", "").endswith("."), name


def test_every_line_of_the_schema_is_closed() -> None:
    for reference in SCHEMA["oneOf"]:
        definition = SCHEMA["$defs"][reference["$ref"].rpartition("/")[2]]
        assert definition["additionalProperties"] is False
        assert {"schema", "time", "event"} <= set(definition["required"])


def commands() -> list[str]:
    """Each command of the first block and of the recipes, with the comment before it."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT.partition("## Recipes")[0] + recipes(), flags=re.S)
    return [part for block in blocks for part in block.strip().split("\n\n")]


def recipes() -> str:
    return TEXT.partition("## Recipes\n")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with lines of every kind."""
    folder = tmp_path_factory.mktemp("state")
    (folder / "events").mkdir()
    traced = decided()
    call = msgspec.structs.replace(traced.call, trace=TraceContext(TRACE, "b" * 16, True))
    events = [
        *every_kind("hostile $(touch x) \u202e"), msgspec.structs.replace(traced, call=call), settled(),
        settled(Outcome.UNKNOWN, "given_up"), changed("denied", answer("deny", reason="not today")), SIGN_IN,
    ]  # fmt: skip
    lost = {"schema": 1, "time": "2026-11-30T12:00:00.000Z", "event": "lost", "instance": "abcd1234", "server": "stub",
            "lines": 3, "reason": "No space left on device"}  # fmt: skip
    lines = [*written(*events), json.dumps(lost).encode()]
    valid(map(json.loads, lines))
    (folder / "events" / "abcd1234.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return folder


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.splitlines()[0][2:60])
def test_a_recipe_runs_and_finds_something(state: Path, command: str) -> None:
    assert shutil.which("jq"), "no jq: run `make jq`"
    text = command.replace("STATE", str(state)).replace("DECISION", "i-1")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], capture_output=True, timeout=30, check=False, cwd=state
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    found = done.stdout.decode().strip()
    assert found not in ("", "0")
    assert "null" not in found.split()
    assert [file.name for file in state.iterdir()] == ["events"]


def test_there_are_recipes() -> None:
    assert len(commands()) >= 12


def test_the_keys_of_cef_are_those_that_the_document_lists() -> None:
    rows = dict(re.findall(r"^\| `(\w+)`(?:, with `\w+Label=\w+`)? \| (`.*`) \|$", TEXT, flags=re.M))
    for member, key in (KEYS | LABELLED).items():
        assert f"`{member}`" in rows[key]


def example(begins: str) -> str:
    """The example line that begins so."""
    found = re.search(rf"^{re.escape(begins)}.*$", TEXT, flags=re.M)
    assert found is not None
    return found[0]


def test_the_examples_of_forms_begin_as_real_lines_do() -> None:
    line: dict[str, Any] = {
        "schema": 1, "time": "2026-11-30T12:00:00.123Z", "event": "decision", "decision_id": "1f3a…-7", "tool": "t",
        "decision": "deny", "kind": "rule",
    }  # fmt: skip
    data = json.dumps(line).encode()
    head = Cef().convert(data).decode().partition("|rt=")[0]
    assert example("CEF:0").startswith(head)
    assert str(words.severity(line)) == head.rpartition("|")[2]
    message = Rfc5424("host", 4711).convert(data).decode()
    assert example("<1").startswith(message.partition(" [audit@")[0])
