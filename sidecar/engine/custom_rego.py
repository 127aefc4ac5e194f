"""Checks hand-written Rego: that it can only refuse and ask, and what it reads. See `docs/custom-rego.md`.

Everything is refused here that could do more, before any engine has it. First OPA only parses: a module that was not
looked through is never compiled, because compiling can already do things (a schema in an annotation is fetched). Then
OPA compiles it by itself, with the built-in functions that are allowed and our functions for it, and nothing else of a
bundle. What it reads is known from two sides, each of which may only add: every mention of `input` that stands in its
text, and what `opa deps` finds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.engine import binary, capabilities
from sidecar.errors import PolicyError
from sidecar.mcp import strict_json
from sidecar.policy import custom_module, custom_reads
from sidecar.policy.bundle import library, write
from sidecar.policy.custom import CUSTOM, CheckedCustom, CustomReads, shown
from sidecar.policy.custom_builtins import BUILTINS
from sidecar.policy.custom_module import Names, Tree
from sidecar.policy.problem import Place, Problem
from sidecar.system import temporary_folders

MAX_MODULES: Final = 64
MAX_SIZE: Final = 4 << 20
"""Bytes of all files together."""
MAX_TREE: Final = 64 << 20
"""Bytes of what OPA says of one module: that grows with the square of how deep it is nested."""
_NAME: Final = re.compile(rf"{CUSTOM}/(?:[A-Za-z0-9_-]+/)*(?:[A-Za-z0-9_][A-Za-z0-9_.-]*\.rego|data\.json)")
_OURS: Final = "intercept/typed/"
"""The part of our library that it can use."""


def check(opa: Path, files: Mapping[str, str]) -> CheckedCustom:
    """What hand-written files of a bundle are, by their paths there. Raises `PolicyError` with every problem.

    The same files always give the same; `CheckedCustom.facts` is what the facts of their bundle say under `custom`.
    """
    _refuse(_odd_files(files))
    modules = [path for path in sorted(files) if path.endswith(".rego")]
    if not modules:
        return CheckedCustom(dict(files), (), CustomReads())
    with temporary_folders.folder() as folder:
        write({path: text for path, text in library().items() if path.startswith(_OURS)} | dict(files), folder)
        trees, unread = _parsed(opa, folder, modules)
        _refuse(unread)
        read = custom_module.read_modules(trees)
        mentions = [mention for module in read for mention in module.mentions]
        _refuse([*(problem for module in read for problem in module.problems), *custom_reads.problems(mentions)])
        rules = tuple(sorted(rule for module in read for rule in module.rules))
        if not rules:
            _refuse([_silent(modules[0])])
        _refuse(_compiled(opa, folder))
        found = [mention.steps for mention in mentions] + _dependencies(opa, folder)
    reads = custom_reads.reads_of(found, clock=any(module.reads_clock for module in read))
    return CheckedCustom(dict(files), rules, reads)


def _refuse(problems: Iterable[Problem]) -> None:
    if found := sorted(set(problems)):
        raise PolicyError([str(problem) for problem in found])


def _silent(path: str) -> Problem:
    words = "no file adds to violations or approvals in package intercept.custom, so it does nothing: add a rule, or "
    return Problem(Place(shown(path), 1, 1), "rules", f"{words}remove the files")


# Files.


def _odd_files(files: Mapping[str, str]) -> list[Problem]:
    problems = [
        Problem(
            Place(shown(path), 1, 1), "file", "only *.rego and data.json can stand here, in folders with plain names"
        )
        for path in files
        if not _NAME.fullmatch(path)
    ]
    size = sum(len(text.encode()) for text in files.values())
    if size > MAX_SIZE or sum(path.endswith(".rego") for path in files) > MAX_MODULES:
        most = f"{MAX_MODULES} files of Rego and {MAX_SIZE >> 20} MiB"
        problems.append(Problem(Place(shown(CUSTOM), 1, 1), "files", f"there may be up to {most} together: keep fewer"))
    data = [path for path in files if path.endswith("/data.json")]
    return problems or [problem for path in data if (problem := _odd_data(path, files[path]))]


def _odd_data(path: str, text: str) -> Problem | None:
    place = Place(shown(path), 1, 1)
    try:
        value, _ = strict_json.read_value(text.encode())
    except strict_json.NotStrict as error:
        return Problem(place, "data", f"it cannot be read: {error}")
    if not isinstance(value, dict):
        return Problem(place, "data", 'it is no object: write {"a name": …}')
    folders = path.removeprefix(f"{CUSTOM}/").split("/")[:-1]
    if taken := custom_module.SPEAKS.keys() & set(folders[:1] or value):
        return Problem(place, "data", f"{min(taken)} is what rules add to: choose another name")
    return None


# What OPA says of the modules.


def _parsed(opa: Path, folder: Path, modules: Iterable[str]) -> tuple[dict[str, Tree], list[Problem]]:
    trees: dict[str, Tree] = {}
    problems: list[Problem] = []
    for path in modules:
        asked = ("--format", "json", "--json-include", "locations,-comments", folder / path)
        text = binary.run_bounded([opa, "parse", *asked], MAX_TREE)
        said = _json(text or "")
        if text is None or not said:
            words = "it is too deep, or too long, to be looked through: write it as smaller rules"
            _refuse([Problem(Place(shown(path), 1, 1), "rego", words)])
        if "package" in said:
            trees[shown(path)] = said
        else:
            problems += _complaints(said, folder, path)
    return trees, problems


def _compiled(opa: Path, folder: Path) -> list[Problem]:
    known = capabilities.known(opa)
    every = {str(one["name"]) for one in known["builtins"]}
    with temporary_folders.folder() as beside:
        may = beside / "capabilities.json"
        may.write_text(capabilities.limited(known, lambda one: one["name"] in BUILTINS), encoding="utf-8")
        asked = ("--strict", "--format", "json", "--capabilities", may, "--bundle", folder)
        done = binary.run([opa, "check", *asked])
    if done.returncode == 0:
        return []
    return _complaints(_json(done.stderr or done.stdout), folder, CUSTOM, every)


def _dependencies(opa: Path, folder: Path) -> list[Names]:
    """The ways into the question that OPA finds; where it cannot say, the question as a whole."""
    done = binary.run([opa, "deps", "--format", "json", "--bundle", folder, "data.intercept.custom"])
    said = _json(done.stdout)
    if done.returncode or not said.get("virtual"):  # there are rules, so without any this is no answer
        return [("input",)]
    names = [_written_out(steps) for steps in said.get("base") or ()]
    foreign = [way for way in names if way[0] == "data" and way[1:3] != custom_module.PACKAGE]
    return [("input",)] if foreign else names


def _written_out(steps: list[Mapping[str, Any]]) -> Names:
    names = [str(steps[0]["value"])]
    for step in steps[1:]:
        if step["type"] != "string":
            break
        names.append(str(step["value"]))
    return tuple(names)


def _complaints(said: Mapping[str, Any], folder: Path, otherwise: str, builtins: Iterable[str] = ()) -> list[Problem]:
    """OPA's errors as problems; `builtins` are the functions that it has, of which some may not be used."""
    return [
        Problem(_place(error.get("location") or {}, folder, otherwise), "rego", _words(str(error["message"]), builtins))
        for error in said.get("errors") or [{"message": "opa gives no reason"}]
    ]


def _place(location: Mapping[str, Any], folder: Path, otherwise: str) -> Place:
    file = str(location.get("file") or otherwise).removeprefix(f"{folder}/")
    return Place(shown(file), int(location.get("row") or 1), int(location.get("col") or 1))


def _words(message: str, builtins: Iterable[str]) -> str:
    name = message.removeprefix("undefined function ")
    name = {"internal.print": "print"}.get(name, name)
    if name != message and name in {*builtins, "print"}:
        return f"{name} cannot be used: a rule goes by the question and its own data, so that what it says can be tried"
    return message.replace("\n", " ")[:400]


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
