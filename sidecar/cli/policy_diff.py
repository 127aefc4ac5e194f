"""`sidecar policy diff`: which calls change their decision between two policies, for whom, by which line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from sidecar.cli.options import OpaBin
from sidecar.cli.policy_diff_markdown import markdown
from sidecar.cli.policy_diff_text import document, table
from sidecar.cli.printing import complain, say, say_text, warn
from sidecar.engine import binary
from sidecar.errors import UsageError
from sidecar.mcp.strict_json import encode
from sidecar.rehearsal.cases import Case, load_cases
from sidecar.rehearsal.diff.comparing import Compared, compare
from sidecar.rehearsal.recordings.files import Line, lines_of, look
from sidecar.repository.subject import Subject, subject
from sidecar.text import of_system, shown

UNCHANGED: Final = 0
CHANGED: Final = 3
ALLOWED: Final = 4
PATIENCE: Final = 5.0
"""Seconds between two lines about how far it is."""
_YAML: Final = (".yaml", ".yml")


def policy_diff_command(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A policy file, a repository or a bundle.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The same, as it is to be.")],
    more: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", show_default=False, help="More files for --calls."),
    ] = None,
    calls: Annotated[
        list[Path] | None,
        typer.Option(
            "--calls",
            metavar="FILE",
            show_default=False,
            help="Recorded calls, or a file of tests; after OLD and NEW more may follow.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write all of it as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Write a comment for a pull request.")] = False,
    opa_bin: OpaBin = None,
) -> int:  # fmt: skip
    """Say which calls another policy decides otherwise, those that it allows and that were refused first.

    Ends with 0 when nothing changes, 3 when something does, 4 when any call goes from refused to allowed.
    """
    if as_json and as_markdown:
        raise UsageError("choose one of --json and --markdown")
    if more and not calls:
        raise UsageError(
            f"{shown(of_system(str(more[0])))} is one word too many: name two policies, and write --calls before files "
            "of calls"
        )
    opa = binary.find(opa_bin)
    before, after = subject(old, opa), subject(new, opa)
    complain(*(before.warnings if before.policy is None else ()), *after.warnings)
    cases, recordings = _calls([*(calls or ()), *(more or ())])
    compared = asyncio.run(
        compare(before, after, opa, (*_tests(before, after), *cases), recordings, _progress(time.monotonic))
    )
    if as_json:
        say_text(document(compared))
    elif as_markdown:
        say_text(markdown(compared))
    else:
        say(*table(compared))
    return status(compared)


def status(compared: Compared) -> int:
    """What the command ends with."""
    if compared.opens:
        return ALLOWED
    return CHANGED if compared.differs else UNCHANGED


def _tests(old: Subject, new: Subject) -> tuple[Case, ...]:
    """The tests of both repositories; calls that both have are taken from the new one, whatever is expected of them."""
    found: dict[object, Case] = {}
    for one in (new, old):
        if one.repository is not None:
            for case in load_cases(one.repository.tests):
                steps = [(step.tool, encode(step.arguments), repr(step.caller), step.time) for step in case.steps]
                found.setdefault((tuple(steps), tuple(sorted(case.workload.items()))), case)
    return tuple(found.values())


def _calls(paths: Sequence[Path]) -> tuple[tuple[Case, ...], tuple[Line, ...]]:
    """The calls in files of tests, and in recordings."""
    cases = load_cases([path for path in paths if path.suffix in _YAML])
    recordings = [path for path in paths if path.suffix not in _YAML]
    for path in recordings:
        looked = look(path)
        for text in looked.cut:
            warn(text)
        if problems := looked.problems:
            raise UsageError(f"{problems[0]}; take the line out, or record anew ({len(problems)} such lines)")
    return cases, tuple(line for path in recordings for line in lines_of(path))


def _progress(clock: Callable[[], float]) -> Callable[[str], None]:
    """Says how far it is on the error stream, where it takes long."""
    last = clock()

    def say(text: str) -> None:
        nonlocal last
        if clock() - last >= PATIENCE:
            last = clock()
            complain(f"sidecar: comparing: {text}")

    return say
