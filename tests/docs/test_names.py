"""Files, modules, classes and functions that the documentation names: each is there under that name.

A path is written from the root of the repository (`tests/cli/test_run.py`), of `sidecar/` (`enforce/gate`) or of
`deploy/`. What a module holds comes behind a dot (`enforce/gate.Gate.judge`); a member may stand with its class alone.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support import ROOT

DOCUMENTS = (
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
SIDECAR = ROOT / "sidecar"
PATH = re.compile(r"\.?[a-z_][\w-]*(/[\w.-]+)*/[\w.-]*")
MEMBER = re.compile(r"[A-Z]\w*[a-z]\w*\.\w+")
NOT_OURS = {
    "tools/call", "tools//call", "tools/./call", "tools/list", "tools/execute", "tasks/result", "server/discover",
    "x/run", "intercept/policy", "intercept/facts", "intercept/facts/data.json", "intercept/decision",
    "intercept/engine", "a/b", "b/c", "build/compiled", "build/bench.svg", "build/site",
    "build/tools.txt",
    "dist/release", "info/exclude",
    "ci/compare", "ci/install", "rego/custom/", "instances/", "tests/tools/NAME", "src/../.env", ".cursor/mcp.json",
    ".gemini/settings.json", ".vscode/mcp.json", ".git/info/exclude", "heads/main",
}  # fmt: skip
"""What looks like a path and is none here: methods, what a bundle holds, servers and tools, what `make` builds, what
`policy init` and a running sidecar write, files of clients."""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_names_is_there(document: str) -> None:
    named = set(_spans((ROOT / document).read_text(encoding="utf-8"))) - NOT_OURS
    assert sorted(name for name in named if not _is_there(name)) == []


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md"])
def test_a_link_of_a_document_leads_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if not _leads_somewhere(ROOT / document, link)] == []


@pytest.mark.parametrize(
    "name",
    ["enforce/gates", "enforce/gate.Door", "enforce/gate.Gate.guess", "Gate.guess", "tests/auth/test_door.py", "yard/"],
)  # fmt: skip
def test_a_name_that_is_nowhere_is_noticed(name: str) -> None:
    assert list(_spans(f"see `{name}`")) == [name]
    assert not _is_there(name)


@pytest.mark.parametrize("name", ["enforce/gate", "enforce/gate.Gate.judge", "Gate.judge", "docs/", "docs/http.md"])
def test_a_name_that_is_there_is_found(name: str) -> None:
    assert _is_there(name)


def test_the_rooms_are_drawn_in_the_order_in_which_they_may_import() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^\| `(\w+)/` \|", text, flags=re.M)
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    assert [room for room in contract["contracts"][0]["layers"] if (SIDECAR / room).is_dir()] == drawn


def _spans(text: str) -> Iterator[str]:
    """The texts in backticks, outside of blocks of code, that name a path or a member of a class."""
    for span in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)):
        if PATH.fullmatch(span) or MEMBER.fullmatch(span):
            yield span


def _is_there(name: str) -> bool:
    if "/" not in name:
        owner, member = name.split(".")
        return any(member in names.get(owner, ()) for names in map(_names, SIDECAR.rglob("*.py")))
    if any((base / name).exists() for base in (ROOT, SIDECAR, ROOT / "deploy")):
        return True
    folder, _, rest = name.rpartition("/")
    module, *members = rest.split(".")
    path = SIDECAR / folder / f"{module}.py"
    return path.is_file() and _holds(_names(path), members)


def _holds(names: dict[str, set[str]], members: list[str]) -> bool:
    match members:
        case []:
            return True
        case [name]:
            return name in names
        case [owner, member]:
            return member in names.get(owner, ())
        case _:
            return False


@cache
def _names(path: Path) -> dict[str, set[str]]:
    """What stands at the top of a module, and what each class there has as a member."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {name: _members(node) for node in tree.body for name in _bound(node)}


def _bound(node: ast.AST) -> set[str]:
    """The names that a statement gives a value or a type."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {name for target in targets for name in _targets(target)}
        case ast.AnnAssign(target=target):
            return set(_targets(target))
        case _:
            return set()


def _targets(target: ast.expr) -> Iterator[str]:
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield name
        case ast.Tuple(elts=parts):
            for part in parts:
                yield from _targets(part)


def _members(node: ast.AST) -> set[str]:
    """The members of a class, those that its methods give a value included."""
    if not isinstance(node, ast.ClassDef):
        return set()
    return {name for inner in ast.walk(node) for name in _bound(inner)}


def _leads_somewhere(document: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = document.parent / file if file else document
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
