"""`sidecar explain`: how calls would be decided, and what each rule says about one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sidecar.cli.explanation import Call, Explainer
from sidecar.cli.kept_counters import KeptCounters
from sidecar.cli.options import Config, OpaBin, written
from sidecar.cli.printing import say
from sidecar.engine import binary
from sidecar.errors import StartError, UsageError
from sidecar.mcp import strict_json
from sidecar.mcp.protocol import TOOLS_CALL
from sidecar.repository.load import find, load, places_of_settings
from sidecar.system import files
from sidecar.text import of_system, shown

STATUSES: Final = {"allow": 0, "deny": 3, "require_approval": 4}
"""What the command ends with, by the decision."""
MAX_CALLS: Final = 64 << 20
"""Bytes of a file of calls."""
_WORST: Final = ("allow", "require_approval", "deny")
"""Decisions on several calls: the last that occurs counts."""


def explain_command(
    ctx: typer.Context,
    config: Config,
    tool: Annotated[str, typer.Argument(metavar="[TOOL]", help="The tool that is called.", show_default=False)] = "",
    args: Annotated[str, typer.Option("--args", metavar="JSON", help="Its arguments, a JSON object.")] = "{}",
    calls: Annotated[
        str,
        typer.Option(
            "--calls",
            metavar="FILE",
            help='Decide many calls: JSON lines with "tool" and "arguments", or tools/call messages; - reads stdin.',
            show_default=False,
        ),
    ] = "",
    state_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="SIDECAR_STATE_DIR",
            metavar="DIR",
            help="Where counters are kept. [default: as if nothing was counted]",
        ),
    ] = None,
    server: Annotated[
        str,
        typer.Option(
            envvar="SIDECAR_SERVER", metavar="NAME", help="Whose counters they are: the name that `run` was given."
        ),
    ] = "",
    show_list: Annotated[bool, typer.Option("--list", help="Say too whether tools/list shows it.")] = False,
    opa_bin: OpaBin = None,
) -> int:
    """Say how a call would be decided, and why. Ends with 0 for allow, 3 for deny, 4 for an approval."""
    if bool(tool) is bool(calls):
        raise UsageError("name one tool, or a file of calls with --calls")
    server = of_system(server)
    if "state_dir" in written(ctx) and not server:
        raise UsageError(
            "--state-dir needs --server: counters belong to a server's name, which `sidecar status` shows; "
            "to decide as if nothing was counted, leave out --state-dir"
        )
    opa = binary.find(opa_bin)
    found = find(config)
    policy, _ = load(found, lambda: opa)
    explainer = Explainer(opa, policy, places_of_settings(found), _counters(state_dir, server))
    if calls:
        return _many(explainer, calls)
    return _one(explainer, Call(of_system(tool), _arguments(of_system(args), "--args")), show_list=show_list)


def _counters(state_dir: Path | None, server: str) -> KeptCounters:
    """The counters of a server; none where one of the two is missing: the environment may name the folder alone."""
    if state_dir is None or not server:
        return KeptCounters(None, server, "--state-dir" if state_dir is None else "--server")
    return KeptCounters(state_dir / "counters.db", server)


def _one(explainer: Explainer, call: Call, *, show_list: bool) -> int:
    (explained,) = explainer.explain([call])
    action, why = explainer.outcome(call, explained)
    first, *others = why.splitlines()
    say(f"{action}: {first}")
    for line in [*others, *explainer.details(call, explained, refused=action == "deny")]:
        say(f"  {line}")
    if show_list:
        withheld = explainer.withheld(call.tool)
        say(f"  tools/list shows it: {'yes' if withheld is None else 'no: ' + withheld}")
    say(f"  revision {explainer.bundle.revision}")
    return STATUSES[action]


def _many(explainer: Explainer, name: str) -> int:
    read = [(number, call, explainer.refusal(call)) for number, call in _calls(name)]
    answers = iter(explainer.explain([call for _, call, refused in read if refused is None]))
    actions = set()
    for number, call, refused in read:
        action, why = ("deny", refused) if refused is not None else explainer.outcome(call, next(answers))
        actions.add(action)
        say(f"{number}: {shown(call.tool)}: {action}: {why.splitlines()[0]}")
    return STATUSES[next((action for action in reversed(_WORST) if action in actions), "allow")]


def _calls(name: str) -> Iterator[tuple[int, Call]]:
    """The calls in a file of JSON lines, with the numbers of their lines. Raises `UsageError`."""
    where = "standard input" if name == "-" else of_system(name)
    try:
        text = sys.stdin.buffer.read() if name == "-" else files.read(Path(name), MAX_CALLS).data
    except files.Unreadable as error:
        raise StartError(
            f"cannot read the calls {where}: {error}; name a file of JSON lines, or - for standard input"
        ) from None
    except OSError as error:
        raise StartError(f"cannot read {where}: {error.strerror}") from None
    for number, line in enumerate(text.split(b"\n"), 1):
        if line.strip():
            yield number, _call(line, f"{where}:{number}")


def _call(line: bytes, where: str) -> Call:
    said = _object(line, where)
    if said.get("method") == TOOLS_CALL and type(said.get("params")) is dict:
        said = {"tool": said["params"].get("name"), "arguments": said["params"].get("arguments")}
    tool, arguments = said.get("tool"), said.get("arguments")
    if type(tool) is not str or type(arguments) not in (dict, type(None)):
        raise UsageError(f'{where}: no call: write {{"tool": "name", "arguments": {{...}}}}, or a tools/call message')
    return Call(tool, arguments or {})


def _arguments(text: str, where: str) -> dict[str, Any]:
    return _object(text.encode(), where)


def _object(text: bytes, where: str) -> dict[str, Any]:
    try:
        value, _ = strict_json.read_value(text)
    except strict_json.NotStrict as problem:
        raise UsageError(f"{where}: {problem}") from None
    if type(value) is not dict:
        raise UsageError(f"{where} must be a JSON object, as '{{\"sz\": 1}}'")
    return value
