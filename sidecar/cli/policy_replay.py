"""`sidecar policy replay`: what another policy says of recorded calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from sidecar.cli.options import OpaBin
from sidecar.cli.printing import complain, say, say_text, warn
from sidecar.engine import binary
from sidecar.errors import UsageError
from sidecar.mcp.strict_json import encode
from sidecar.policy.terms import Terms
from sidecar.rehearsal.recordings.files import files_of, lines_of, look
from sidecar.rehearsal.replay import Change, Replay, replay
from sidecar.repository.subject import merged, subject
from sidecar.text import of_system, shown, visible

UNCHANGED: Final = 0
CHANGED: Final = 3
LOOSENED: Final = 4
"""What the command ends with."""
MAX_PROBLEMS: Final = 20
"""Lines that cannot be read and are named; the rest is counted."""


def replay_command(
    recording: Annotated[
        Path,
        typer.Argument(
            metavar="RECORDING", show_default=False, help="A file that `run --record` wrote; RECORDING.1 is read too."
        ),
    ],
    config: Annotated[
        list[Path],
        typer.Option(
            "-c",
            "--config",
            envvar="SIDECAR_CONFIG",
            metavar="POLICY",
            show_default=False,
            help="The policy to ask: a file, a repository or a bundle; several files are merged.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Write all of it as JSON.")] = False,
    opa_bin: OpaBin = None,
) -> int:
    """Ask another policy about recorded calls, and say which it decides otherwise. No server is contacted.

    Ends with 0 when nothing changes, 3 when something does, 4 when any call passes that did not.
    """
    looked = look(recording)
    for text in looked.cut:
        warn(text)
    if looked.problems:
        return _unreadable(looked.problems)
    if not looked.calls:
        raise UsageError(f"{of_system(str(recording))} holds no call: record some with `sidecar run --record`")
    opa = binary.find(opa_bin)
    asked = subject(config[0], opa) if len(config) == 1 else merged(config, opa)
    complain(*asked.warnings)
    found = asyncio.run(replay(lambda: lines_of(recording), asked.bundle, opa))
    if as_json:
        say_text(_document(found))
    else:
        say(*_table(found))
    complain(*_notes(found, asked.bundle.terms, files_of(recording)))
    return LOOSENED if found.opens else CHANGED if found.loosened or found.tightened else UNCHANGED


def _unreadable(problems: Sequence[str]) -> int:
    complain(*problems[:MAX_PROBLEMS])
    if len(problems) > MAX_PROBLEMS:
        complain(f"{len(problems) - MAX_PROBLEMS} more lines cannot be read")
    complain("sidecar: nothing was replayed: take these lines out, or record anew")
    return 2


def _document(found: Replay) -> str:
    return msgspec.json.format(encode(found), indent=2).decode()


def _table(found: Replay) -> Iterator[str]:
    """The changes that loosen first, each kind with its first call; then the rest."""
    yield from _changes("{} would pass that did not", [one for one in found.loosened if one.new == "allow"])
    yield from _changes(
        "{} would wait for a person, and was refused", [one for one in found.loosened if one.new != "allow"]
    )
    yield from _changes("{} would be refused, or wait for a person, and was not", found.tightened)
    if found.not_replayable:
        yield f"{_calls(len(found.not_replayable))} cannot be replayed:"
        for (tool, why), same in _grouped(found.not_replayable, lambda one: (one.tool, one.why)):
            yield f"  {shown(tool)}: {visible(why)} ({_calls(len(same))}, the first at {same[0].recorded})"
    yield f"{_calls(found.unchanged)} unchanged"


def _changes(what: str, changes: Sequence[Change]) -> Iterator[str]:
    if not changes:
        return
    yield f"{what.format(_calls(len(changes)))}:"
    for _, same in _grouped(changes, lambda one: (one.tool, one.old, one.new, one.line, one.rule, one.old_rule)):
        yield _kind(same)


def _kind(same: Sequence[Change]) -> str:
    """One line for changes of one kind."""
    first = same[0]
    by = f' by "{shown(first.rule)}"' if first.rule else ""
    was = f' by "{shown(first.old_rule)}"' if first.old_rule else ""
    at = f" ({visible(first.line)})" if first.line else ""
    example = visible(encode(first.arguments).decode())
    example = example if len(example) <= _SHOWN else f"{example[:_SHOWN]}…"
    return (
        f"  {shown(first.tool)}: {_WORDS[first.old]}{was}, now {_WORDS[first.new]}{by}{at}: "
        f"{_calls(len(same))}, the first at {first.recorded} with {example}"
    )


_SHOWN: Final = 200
_WORDS: Final = {"allow": "allowed", "deny": "refused", "approval": "held for a person"}


def _grouped(items: Iterable[Any], key: Any) -> Iterator[tuple[Any, list[Any]]]:
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    yield from groups.items()


def _notes(found: Replay, terms: Terms, files: Sequence[Path]) -> Iterator[str]:
    if len(files) > 1:
        yield f"read {' and then '.join(of_system(str(file)) for file in files)}"
    if terms.scopes:
        yield "counters began at 0 with the first call of the recording"
    if found.not_replayable and not (found.unchanged or found.loosened or found.tightened):
        yield "no call could be replayed, so this says nothing about the policy"


def _calls(count: int) -> str:
    return f"{count} call{'' if count == 1 else 's'}"
