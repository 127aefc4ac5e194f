"""Names of files and folders on the terminal and in logs of CI: none begins a line, none speaks to a terminal."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from sidecar.cli.printing import say_text
from sidecar.text import is_plain
from tests.cli.test_policy_commands import GOOD, sidecar
from tests.support import ROOT

NAME = "a\nForged: ok\x1b[2J\u202e\x9b31m"
OUR_OWN_TEXT = {"completion.py", "groups.py", "schema.py"}
"""They print scripts, help and the schema, in which there is no name from outside."""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / NAME
    (folder / "policies").mkdir(parents=True)
    (folder / "tests").mkdir()
    (folder / "policies" / "p.yaml").write_text(GOOD)
    (folder / "tests" / "t.yaml").write_text("- {name: n, steps: [{call: t, with: {n: 9}, expect: allow}]}\n")
    (folder / "compiled").mkdir()
    (folder / "bad.yaml").write_text("toolz: {}\n")
    (folder / "calls.jsonl").write_text('{"tool": 1}\n')
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("validate", f"{NAME}/missing.yaml"),
        ("validate", f"{NAME}/bad.yaml"),
        ("compile", "-c", f"{NAME}/policies/p.yaml", "-o", NAME, "--check"),
        ("compile", "-c", f"{NAME}/policies/p.yaml", "-o", NAME),
        ("explain", "-c", f"{NAME}/policies/p.yaml", "--calls", f"{NAME}/calls.jsonl"),
        ("explain", "-c", f"{NAME}/policies/p.yaml", "--calls", f"{NAME}/missing"),
        ("run", "-c", f"{NAME}/bad.yaml", "--", "true"),
        ("version", "--opa-bin", f"{NAME}/opa"),
        ("policy", "init", NAME),
        ("policy", "init", f"{NAME}/new"),
        ("policy", "test", f"{NAME}/tests"),
        ("policy", "test", NAME),
        ("policy", "test", f"{NAME}/tests/t.yaml", "-c", f"{NAME}/policies/p.yaml"),
        ("policy", "test", f"{NAME}/bad.yaml", "-c", f"{NAME}/policies/p.yaml"),
        ("policy", "diff", NAME, f"{NAME}/bad.yaml"),
        ("policy", "diff", f"{NAME}/compiled", NAME),
        ("policy", "build", NAME, "-o", f"{NAME}/bundle.tar.gz"),
        ("policy", "build", NAME, "-o", f"{NAME}/missing/bundle.tar.gz"),
        ("policy", "publish", f"{NAME}/missing.tar.gz", NAME),
        ("policy", "replay", f"{NAME}/calls.jsonl", "-c", NAME),
        ("audit", "verify", f"{NAME}/missing", f"{NAME}/calls.jsonl"),
        ("approvals", "list", "--state-dir", f"{NAME}/missing"),
        ("approvals", "show", "0123456789", "--state-dir", f"{NAME}/missing"),
        ("health", "--state-dir", f"{NAME}/missing"),
        ("status", "--state-dir", f"{NAME}/missing"),
        ("nonsense", NAME),
        (NAME,),
    ],
)
def test_a_name_forges_no_line_and_says_nothing_to_a_terminal(here: Path, words: tuple[str, ...]) -> None:
    done = sidecar(here, *words)
    assert done.out or done.errors
    for line in [*done.out.split("\n"), *done.errors]:
        assert is_plain(line), line
        assert not line.startswith("Forged"), line


def test_a_text_of_ours_keeps_its_lines_and_json_stays_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    value = {NAME: ["\u009b", "plain"]}
    text = json.dumps(value, ensure_ascii=False, indent=2)
    say_text(f"{text}\n")
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert out.count("\n") == text.count("\n") + 1
    assert all(map(is_plain, out.split("\n")))


def test_commands_print_by_no_other_way() -> None:
    folder = ROOT / "sidecar" / "cli"
    found = {
        path.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert found == {"printing.py"} | OUR_OWN_TEXT
