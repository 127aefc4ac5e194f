"""`sidecar explain`: the engine's decision on one call, and what each rule said about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from sidecar import jsonrpc
from sidecar.cli.options import Config, OpaBin
from sidecar.decision import Decision, project, question
from sidecar.engine import binary
from sidecar.errors import InvalidMessage, StartError, UsageError
from sidecar.load import load
from sidecar.policy.bundle import Bundle, build
from sidecar.policy.compile import compile_policy
from sidecar.policy.model import ANY_TOOL, Condition, Rule


def explain_command(
    config: Config,
    tool: Annotated[str, typer.Argument(help="The tool that is called.", show_default=False)],
    args: Annotated[str, typer.Option("--args", metavar="JSON", help="Its arguments, a JSON object.")] = "{}",
    opa_bin: OpaBin = None,
) -> int:
    """Say how one call would be decided, and why."""
    arguments = _arguments(args)
    opa = binary.find(opa_bin)
    policy, _ = load(config, lambda: opa)
    bundle = build(compile_policy(policy), serial=1)
    explained = _ask(opa, bundle, tool, arguments)
    decision = explained.decision
    print(f"{decision.action}: {decision.reason or 'every rule that applies is met'}")
    rules = [
        rule for name in (tool, ANY_TOOL) for entry in policy.entries if entry.tool == name for rule in entry.rules
    ]
    for rule in rules:
        print(f"  {_verdict(rule, explained)} {rule.name} ({rule.place.file}:{rule.place.line})")
        for condition in rule.conditions:
            print(f"      {_condition(condition)}; the call has {_found(condition, arguments)}")
    if not rules:
        print(f"  no rule is about this tool; default: {policy.default}")
    print(f"  revision {decision.revision}")
    return 0


_ENCODER = msgspec.json.Encoder(decimal_format="number")


class _Explained(msgspec.Struct):
    decision: Decision
    passes: list[str]


def _ask(opa: Path, bundle: Bundle, tool: str, arguments: dict[str, Any]) -> _Explained:
    try:
        body = question("explain", tool, project(arguments, bundle.terms.reads_of(tool)))
    except ValueError as problem:
        raise UsageError(f"the sidecar would refuse this call: {problem}") from None
    document = msgspec.json.decode(body, type=dict[str, msgspec.Raw])["input"]
    query = '{"decision": data.intercept.decision, "passes": [id | some id in data.intercept.policy.passes]}'
    found = binary.evaluate(opa, query, bytes(document).decode(), bundle.files)
    try:
        return msgspec.json.decode(found, type=_Explained)
    except msgspec.ValidationError as error:
        raise StartError(f"opa's answer has not the agreed shape: {error}") from None


def _arguments(text: str) -> dict[str, Any]:
    try:
        value, _ = jsonrpc.read_value(text.encode())
    except InvalidMessage as problem:
        raise UsageError(f"--args: {problem}") from None
    if type(value) is not dict:
        raise UsageError("--args must be a JSON object, as '{\"sz\": 1}'")
    return value


def _verdict(rule: Rule, explained: _Explained) -> str:
    if rule.id not in explained.passes:
        return "refuses"
    limit = rule.rate_limit
    if limit is None:
        return "passes "
    return f"counts, at most {limit.max} in {limit.seconds} s ({limit.scope}):"


def _condition(condition: Condition) -> str:
    value = _ENCODER.encode(condition.value).decode()
    return f"{'.'.join(('args', *condition.path))} {condition.op} {value}"


def _found(condition: Condition, arguments: dict[str, Any]) -> str:
    value: Any = arguments
    for step in condition.path:
        if type(value) is not dict or step not in value:
            return "nothing there"
        value = value[step]
    return jsonrpc.encode(value).decode()
