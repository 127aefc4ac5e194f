"""docs/command-line.md is what the code says now, and no variable of the environment is read that it lacks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from programs.reference.__main__ import PAGE
from programs.reference.commands import commands
from programs.reference.page import page
from programs.reference.variables import OF_A_PERSON, OF_ONE_CALL, OTHERS
from tests.cli.test_policy_commands import GOOD, sidecar
from tests.support import ROOT

TEXT: Final = PAGE.read_text(encoding="utf-8")
SOURCES: Final = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in (ROOT / "sidecar").rglob("*.py")}
OURS: Final = re.compile(r"_?(SIDECAR|OPA|OTEL|XDG|DOCKER|POD)_[A-Z_]*[A-Z]")
BY_LIBRARIES: Final = {"SSL_CERT_FILE", "SSL_CERT_DIR"}
HANDED_IN: Final = {
    "sidecar/cli/listen_options.py:_header",  # --header 'K: env:NAME'
    "sidecar/cli/otlp_options.py:_pairs",  # its callers' names stand in that file
    "sidecar/engine/environment.py:of_a_server",
    "sidecar/engine/environment.py:passed",
    "sidecar/repository/commit.py:_said",  # all but git's own
    "sidecar/serve/approving.py:check",  # secret_env of a policy
    "sidecar/system/hardening.py:forget",
    "sidecar/system/taken_secrets.py:take",
    "sidecar/system/workload.py:workload",
}
"""Functions that read a variable whose name is handed to them, or stands in a table."""


def test_the_page_is_what_the_code_says() -> None:
    assert page(commands()) == TEXT, "run `make reference`"


def test_every_command_and_option_is_on_the_page() -> None:
    found = commands()
    assert len(found) > 20
    assert [name for option in found[0].options for name in option.names if f"{name}`" not in TEXT] == []
    for command in found[1:]:
        _, _, part = TEXT.partition(f"# {command.name}\n")
        part = re.split(r"^## ", part, maxsplit=1, flags=re.M)[0]
        assert part
        for option in command.options:
            assert f"| `{', '.join(option.names)}" in part, (command.name, option.names)
        typed = set(re.findall(r" (--[a-z-]+)", "".join(re.findall(r"^```sh\n(.*?)^```", part, flags=re.S | re.M))))
        assert typed <= {name for option in command.options for name in option.names}


def test_a_variable_sets_every_option_but_those_of_one_call_and_of_a_person() -> None:
    keys = {("sidecar policy build", "--key"), ("sidecar policy publish", "--key")}
    keys.add(("sidecar policy publish", "--bundle-key"))
    options = [(command.name, option) for command in commands() for option in command.options]
    without = {(name, option.names[-1]) for name, option in options if not option.variables}
    without = {(name, {"-v": "--version"}.get(option, option)) for name, option in without}
    apart = {*OF_ONE_CALL, *OF_A_PERSON}
    assert {(name, option) for name, option in without if option not in apart} == keys
    assert {option for _, option in without} == apart | {"--key", "--bundle-key"}
    assert [(name, one.names) for name, one in options if one.variables and not apart.isdisjoint(one.names)] == []


def test_every_variable_that_is_read_is_on_the_page() -> None:
    named = {name for text in SOURCES.values() for name in _constants(text) if OURS.fullmatch(name)}
    read = {key for path, text in SOURCES.items() for key, _ in _read(path, text) if key}
    assert {"SIDECAR_URL", "NO_COLOR", "XDG_STATE_HOME", "SIDECAR_POLICY_TOKEN", "POD_NAME"} <= named | read
    assert sorted(name for name in named | read if f"\n| `{name}` |" not in TEXT and f"`{name}`<br>" not in TEXT) == []


def test_every_other_reader_of_variables_is_known() -> None:
    assert {
        f"{path}:{where}" for path, text in SOURCES.items() for key, where in _read(path, text) if not key
    } == HANDED_IN


def test_no_variable_is_on_the_page_that_nobody_reads() -> None:
    constants = {name for text in SOURCES.values() for name in _constants(text)}
    assert sorted(OTHERS.keys() - constants - BY_LIBRARIES) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import os\ndef f(): return os.environ['NEW']", [("NEW", "f")]),
        ("import os\nNAME = 'NEW'\ndef f(): return NAME in os.environ", [("NEW", "f")]),
        ("def f(environ): return environ.get('NEW', '')", [("NEW", "f")]),
        ("import os\ndef f(name): return os.getenv(name)", [("", "f")]),
    ],
)
def test_a_reader_of_a_variable_is_noticed(code: str, found: list[tuple[str, str]]) -> None:
    assert list(_read(Path("x.py"), code)) == found


def test_files_are_separated_by_colons_in_a_variable(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b c.yaml").write_text("tools: {u: {rules: [{action: deny}]}}\n")
    assert "2 tools" in sidecar(tmp_path, "validate", SIDECAR_CONFIG="a.yaml:b c.yaml").out


@pytest.mark.parametrize(("word", "status"), [("on", 2), ("true", 2), ("off", 1), ("0", 1)])
def test_a_switch_is_turned_on_and_off_by_words(tmp_path: Path, word: str, status: int) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    # Wrong usage where the switch is on, since it says how to record and nothing says where.
    done = sidecar(tmp_path, "run", "-c", "good.yaml", "--", "./no-such-server", SIDECAR_RECORD_ALL=word)
    assert done.status == status, done


def test_run_ends_with_the_status_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    assert sidecar(tmp_path, "run", "-c", "good.yaml", "--state-dir", "state", "--", "sh", "-c", "exit 7").status == 7


def _constants(text: str) -> set[str]:
    return {
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _read(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """The variables that a module reads, each with the function; an empty name where it is not written there."""
    tree = ast.parse(text, str(path))
    values: dict[str, str] = {}
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(value))):
                values[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(value))):
                values[name] = value
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                for key in _keys(node):
                    yield _text(key, values), function.name


def _text(key: ast.expr | None, values: dict[str, str]) -> str:
    match key:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return values.get(name, "")
        case _:
            return ""


def _keys(node: ast.AST) -> list[ast.expr | None]:
    """What a piece of code looks up in the environment; None where it looks at all of it."""
    match node:
        case ast.Subscript(value=where, slice=key) if _is_environment(where):
            return [key]
        case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[where]) if _is_environment(where):
            return [key]
        case ast.Call(func=ast.Attribute(value=where, attr=method), args=args) if _is_environment(where):
            return [args[0] if args and method in ("get", "pop", "setdefault") else None]
        case ast.Call(func=ast.Attribute(attr="getenv"), args=[key, *_]):
            return [key]
    return []


def _is_environment(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "environ") or (
        isinstance(node, ast.Name) and node.id == "environ"
    )
