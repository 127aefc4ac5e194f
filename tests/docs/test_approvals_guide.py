"""The guide of docs/approvals.md: its examples are valid, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

from sidecar.approvals.approvers import Approvers
from sidecar.approvals.openapi import DESCRIPTION
from sidecar.enforce.denial import APPROVAL, APPROVAL_REQUIRED
from sidecar.ledger.approvals import KEPT, LOST_AFTER, MAX_PENDING, MAX_PENDING_EACH, MAX_SHOWN, STATES
from tests.approvals.people import put
from tests.ledger.test_redis_approvals import RIGHTS
from tests.support import ROOT
from tests.support.document_commands import command_blocks, run_commands

TEXT = (ROOT / "docs" / "approvals.md").read_text(encoding="utf-8")
YAML = [re.sub(r"^ {3}", "", block, flags=re.M) if indent else block
        for indent, block in re.findall(r"^( *)```yaml\n(.*?)^ *```$", TEXT, re.M | re.S)]  # fmt: skip


def test_the_approvers_of_the_example_are_read(tmp_path: Path) -> None:
    (file,) = [block for block in YAML if block.startswith("approvers:")]
    path = put(tmp_path / "approvers.yaml", file)
    assert Approvers(path).who("") is None
    digests = re.findall("[0-9a-f]{64}", file)
    found = [Approvers(path).of_digest(bytes.fromhex(one)) for one in digests]
    assert [one.name for one in found if one is not None] == ["alice", "bob"]


def test_every_path_of_the_api_is_named_and_no_other() -> None:
    named = {(method, path) for method, path in re.findall(r"\| `(GET|POST) (/api/[^`?]*)", TEXT)}
    there = {
        (method.upper(), path)
        for path, item in DESCRIPTION["paths"].items()
        for method in item
        if method in ("get", "post")
    }
    assert named == there - {("GET", "/api/openapi.json")}
    assert "GET /api/openapi.json" in TEXT


def test_every_status_is_explained() -> None:
    statuses = {
        int(status)
        for item in DESCRIPTION["paths"].values()
        for method in ("get", "post")
        if method in item
        for status in item[method]["responses"]
    }
    table = TEXT[TEXT.index("| status | why |") :].split("\n\n")[0]
    explained = {int(status) for row in table.splitlines()[2:] for status in re.findall("[0-9]{3}", row.split("|")[1])}
    assert explained == (statuses - {200}) | {421}


def test_every_state_is_explained() -> None:
    for state in STATES:
        assert f"| `{state.replace('_', ' ')}` |" in TEXT


def test_the_commands_that_the_guide_begins_with_ask_a_person_and_answer(tmp_path: Path) -> None:
    lines = run_commands(command_blocks(TEXT)[0], tmp_path)
    assert "[INTERCEPT APPROVAL REQUIRED] Paying needs a person" in lines[0]
    assert any(re.match(r"apr_\w+ +pending .* pay ", line) for line in lines)
    assert any(line.split() == ["sum", "5"] for line in lines)
    assert [line for line in lines if line.startswith("Denied: pay on cat")]


def test_figures_are_those_of_the_code() -> None:
    assert f"{APPROVAL_REQUIRED}: `{APPROVAL}" in TEXT
    assert f"at most {MAX_PENDING_EACH} calls of one session (or principal) wait, and {MAX_PENDING:,} in all" in TEXT
    assert f"more than {MAX_SHOWN >> 20} MiB of arguments" in TEXT
    assert f"kept for {KEPT / 86400:g} days" in TEXT
    assert f"for {LOST_AFTER:g} seconds" in TEXT


def test_the_links_within_the_guide_lead_somewhere() -> None:
    headings = {re.sub(r"[^\w -]", "", line).strip().replace(" ", "-").lower()
                for line in re.findall(r"^#+ (.*)$", TEXT, re.M)}  # fmt: skip
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= headings


def test_the_rights_that_the_documentation_names_are_those_that_are_tried() -> None:
    policy = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    named = policy[policy.index("- **Permissions**") :].split(". If the server's name")[0]
    assert set(re.findall(r"`([A-Z|]+)`", named)) == set(RIGHTS.split())
