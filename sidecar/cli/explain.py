"""`sidecar explain`: the engine's decision on one call, and what each rule said about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from sidecar.cli.options import Config, OpaBin
from sidecar.decision.arguments import Projection
from sidecar.decision.decision import Decision, Reserve, Visible
from sidecar.decision.question import question, question_about_list
from sidecar.engine import binary
from sidecar.errors import StartError, StoreUnavailable, UsageError
from sidecar.ledger.names import of_server, of_tool
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Amount, Counter, Reservation, add
from sidecar.mcp import strict_json
from sidecar.policy.applies import applying
from sidecar.policy.bundle import Bundle, build
from sidecar.policy.compile import compile_policy
from sidecar.policy.model import CallerPath, Condition, CounterName, PolicyEntry, Rule
from sidecar.policy.paths import EACH, shown
from sidecar.policy.rego import plain_number
from sidecar.policy.terms import CounterRead
from sidecar.repository.load import find, load
from sidecar.text import of_system


def explain_command(
    config: Config,
    tool: Annotated[str, typer.Argument(help="The tool that is called.", show_default=False)],
    args: Annotated[str, typer.Option("--args", metavar="JSON", help="Its arguments, a JSON object.")] = "{}",
    state_dir: Annotated[
        Path | None,
        typer.Option(envvar="SIDECAR_STATE_DIR", help="Where counters are kept. [default: as if nothing was counted]"),
    ] = None,
    server: Annotated[
        str, typer.Option(envvar="SIDECAR_SERVER", help="Whose counters they are: the name that `run` was given.")
    ] = "",
    show_list: Annotated[bool, typer.Option("--list", help="Say too whether tools/list shows it.")] = False,
    opa_bin: OpaBin = None,
) -> int:
    """Say how one call would be decided, and why."""
    tool, server, arguments = of_system(tool), of_system(server), _arguments(of_system(args))
    if state_dir is not None and not server:
        raise UsageError("--state-dir needs --server: counters belong to a server's name")
    store = _Store(state_dir / "counters.db" if state_dir else None, server)
    opa = binary.find(opa_bin)
    policy, _ = load(find(config), lambda: opa)
    bundle = build(compile_policy(policy), serial=1)
    reads = bundle.terms.reads_of(tool).counters
    read = store.totals([_kept(item, tool) for item in reads])
    explained = _ask(opa, bundle, tool, arguments, read)
    decision = explained.decision
    rules = [(entry, rule) for entry in applying(policy).about(tool) for rule in entry.rules]
    counted = [_counter(entry, rule, tool) for entry, rule in rules if rule.counter]
    present = dict(zip(counted, store.totals(counted), strict=True))
    print(_outcome(decision, tool, present))
    if bundle.terms.monitor:
        print("  the policy only monitors: the call is forwarded all the same")
    for name, value in bundle.terms.risks.of(tool).document.items():
        print(f"  {name}: {value}")
    totals = dict(zip((item.name for item in reads), read, strict=True))
    for entry, rule in rules:
        print(f"  {_verdict(rule, explained)} {rule.name} ({rule.place.file}:{rule.place.line})")
        for condition in rule.asked:
            print(f"      {_condition(condition)}; the call has {_found(condition, arguments, totals)}")
        if rule.counter:
            print(f"      the counter stands at {_shown(present[_counter(entry, rule, tool)])}")
    if not rules:
        print(f"  no rule is about this tool; default: {policy.default}")
    if show_list:
        why = _withheld(opa, bundle, tool)
        print(f"  tools/list shows it: {'yes' if why is None else 'no: ' + why}")
    print(f"  revision {decision.revision}")
    return 0


def _kept(item: CounterRead | Reserve, tool: str) -> Counter:
    """A counter as it is kept for a call of a tool; its holder is its scope."""
    counter = of_tool(item.counter, tool) if item.each_tool else item.counter
    seconds = item.seconds if isinstance(item, Reserve) else item.window
    return Counter(counter, item.scope, seconds, item.sliding)


def _counter(entry: PolicyEntry, rule: Rule, tool: str) -> Counter:
    """The counter of a rule that counts, for a call of a tool."""
    window, name = rule.window, f"{entry.counters}.{rule.stored}"
    return _kept(CounterRead("", name, window.seconds, rule.scope, entry.counts_each_tool, window.sliding), tool)


def _outcome(decision: Decision, tool: str, present: dict[Counter, Amount | None]) -> str:
    """The first line: the decision on the call, limits included."""
    for item in decision.reserve:
        total = present.get(_kept(item, tool)) or 0
        wanted = Reservation(item.counter, "", item.seconds, item.amount, item.limit, item.exclusive)
        if decision.action == "allow" and not wanted.admits(add(total, item.amount)):
            return f"deny: {item.reason}"
    return f"{decision.action}: {decision.reason or 'every rule that applies is met'}"


def _withheld(opa: Path, bundle: Bundle, tool: str) -> str | None:
    """The rule for which a list does not show a tool."""
    document = msgspec.json.decode(question_about_list("explain", [tool]), type=dict[str, msgspec.Raw])["input"]
    found = binary.evaluate(opa, "data.intercept.decision", bytes(document).decode(), bundle.files)
    return msgspec.json.decode(found, type=Visible).hidden.get(tool)


_ENCODER = msgspec.json.Encoder(decimal_format="number")


class _Explained(msgspec.Struct):
    decision: Decision
    passes: list[str]


class _Store:
    """The counters in the store at `path`; all are 0 without one."""

    def __init__(self, path: Path | None, server: str) -> None:
        if path is not None and not path.is_file():
            raise StartError(f"no counters in {path}: name the folder that `run` was given with --state-dir")
        self._path = path
        self._server = server

    def totals(self, counters: Sequence[Counter]) -> list[Amount | None]:
        """Totals of counters whose holders are their scopes; None for a session's, which ends with it."""
        shared = [
            Counter(of_server(self._server) + one.counter, "", one.window, one.sliding)
            for one in counters
            if one.holder == "global"
        ]
        found = iter(asyncio.run(self._look_up(tuple(shared))) if self._path and shared else [0] * len(shared))
        return [next(found) if one.holder == "global" else None for one in counters]

    async def _look_up(self, counters: tuple[Counter, ...]) -> Sequence[Amount]:
        assert self._path is not None
        try:
            ledger = SqliteLedger(self._path, time.time)
            try:
                return await ledger.totals(counters)
            finally:
                await ledger.close()
        except StoreUnavailable as error:
            raise StartError(str(error)) from None


def _ask(
    opa: Path, bundle: Bundle, tool: str, arguments: dict[str, Any], totals: Sequence[Amount | None]
) -> _Explained:  # fmt: skip
    reads = bundle.terms.reads_of(tool)
    counters = {read.name: total or 0 for read, total in zip(reads.counters, totals, strict=True)}
    try:
        read = Projection(reads.paths, reads.only or ()).of(arguments)
    except ValueError as problem:
        raise UsageError(f"the sidecar would refuse this call: {problem}") from None
    body = question("explain", tool, read, counters, keys=sorted(arguments) if reads.only is not None else None)
    document = msgspec.json.decode(body, type=dict[str, msgspec.Raw])["input"]
    passes = "[rule.id | some rule in data.intercept.rules; data.intercept.policy.passes[rule.id]]"
    query = f'{{"decision": data.intercept.decision, "passes": {passes}}}'
    found = binary.evaluate(opa, query, bytes(document).decode(), bundle.files)
    try:
        return msgspec.json.decode(found, type=_Explained)
    except msgspec.ValidationError as error:
        raise StartError(f"opa's answer has not the agreed shape: {error}") from None


def _arguments(text: str) -> dict[str, Any]:
    try:
        value, _ = strict_json.read_value(text.encode())
    except strict_json.NotStrict as problem:
        raise UsageError(f"--args: {problem}") from None
    if type(value) is not dict:
        raise UsageError("--args must be a JSON object, as '{\"sz\": 1}'")
    return value


def _verdict(rule: Rule, explained: _Explained) -> str:
    watches = " (only reports)" if rule.monitor else ""
    if any(item.rule == rule.name and item.kind == "invalid_amount" for item in explained.decision.violations):
        return f"refuses{watches}, for want of an amount:"
    if rule.id not in explained.passes:
        return f"refuses{watches}"
    if rule.action == "require_approval":
        return f"asks for an approval when its conditions hold{watches}:"
    if rule.counter is None:
        return "passes "
    bound = rule.bound
    limit = f"{'less than' if bound.exclusive else 'at most'} {plain_number(bound.value)}" if bound else "no limit"
    return f"counts, {limit} in {'any ' * rule.window.sliding}{rule.window.seconds} s ({rule.scope}){watches}:"


def _condition(condition: Condition) -> str:
    subject = condition.subject
    path = shown("args", subject) if isinstance(subject, tuple) else str(subject)
    return f"{path} {condition.op} {_ENCODER.encode(condition.value).decode()}"


def _shown(total: Amount | None) -> str:
    return "0 in a new session" if total is None else plain_number(Decimal(total))


def _found(condition: Condition, arguments: dict[str, Any], totals: dict[str, Amount | None]) -> str:
    if isinstance(condition.subject, CounterName):
        return _shown(totals[str(condition.subject)])
    if isinstance(condition.subject, CallerPath):
        return "nothing there: who asks is not known here"
    value: Any = arguments
    for step in condition.subject:
        if step is EACH:
            break
        if type(value) is not dict or step not in value:
            return "nothing there"
        value = value[step]
    return strict_json.encode(value).decode()
