"""Files of cases: calls, and what is expected to become of each. Knows YAML and no policy.

```yaml
- name: an agent may buy little
  workload: {namespace: trading}                # of the sidecar, for rules that read it
  steps:
    - {call: buy, arguments: {amount: 5}, expect: allow}
    - call: buy
      arguments_json: '{"amount": 5.50}'        # the very text that the client sends
      principal: {subject: anna, claims: {groups: [traders]}}
      session: second
      client: {name: claude}
      after: 90s                                # or at: 2026-01-05T09:30:00Z
      expect: deny                              # allow, deny or approval
      message: Too much                         # what the agent is told begins with this
      rule: small amounts
```

A case is judged from counters at 0, and they are kept from step to step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.errors import CasesError
from sidecar.mcp import strict_json
from sidecar.mcp.protocol import ClientInfo
from sidecar.policy import nodes
from sidecar.policy.nodes import Node, Scalar
from sidecar.policy.problem import Place, Problem
from sidecar.policy.read_items import ItemReader, is_null
from sidecar.rehearsal.judging import BEGIN
from sidecar.system import files
from sidecar.text import of_system, shown

Expected: TypeAlias = Literal["allow", "deny", "approval", "refused", "error"]
"""What a step expects. `refused` is whatever does not pass, `error` what is answered with a JSON-RPC error."""

EXPECTED: Final[tuple[Expected, ...]] = ("allow", "deny", "approval", "refused", "error")
MAX_SIZE: Final = 16 << 20
"""Bytes of a file of cases."""
SESSION: Final = "first"
"""The session of steps that name none."""

_CASE_KEYS: Final = ("name", "steps", "workload")
STEP_KEYS: Final = (
    "call", "arguments", "arguments_json", "expect", "message", "rule", "code", "principal", "session", "client", "at",
    "after",
)  # fmt: skip
_TRIED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("allowed", "pass", "passes", "permit", "ok"), "write allow"),
    **dict.fromkeys(("denied", "reject", "rejected", "block", "forbid"), "write deny"),
    **dict.fromkeys(("require_approval", "ask", "approve", "pending"), "write approval"),
}
_WORKLOAD: Final = ("namespace", "pod", "service_account")
_MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})")
_JSON_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Step:
    """One call and what is expected of it. `arguments` are JSON values, as strict reading of a message gives them.

    `time` is when the call comes, in Unix seconds: that of no step is before that of the step before it. `code` is that
    of the JSON-RPC error. None stands for what the step does not say.
    """

    tool: str
    arguments: Mapping[str, Any]
    expect: Expected
    caller: Caller
    time: float
    place: Place
    message: str | None = None
    rule: str | None = None
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Calls that come one after the other, from counters at 0. `workload` is where the sidecar would run."""

    name: str
    steps: tuple[Step, ...]
    workload: Mapping[str, str]
    place: Place


def load_cases(paths: Sequence[Path]) -> tuple[Case, ...]:
    """The cases in the files, in their order. Raises `CasesError` with every problem of every file."""
    cases: list[Case] = []
    problems: list[str] = []
    for path in paths:
        found = files.find(path, MAX_SIZE)
        if found.content is None:
            problems.append(f"cannot read the tests {path}: {found.problem}; name a file of cases")
            continue
        try:
            text = found.content.data.decode("utf-8")
        except UnicodeDecodeError:
            problems.append(f"{path}:1:1: file: not UTF-8: save it as UTF-8")
            continue
        read, noted = read_cases(text, of_system(str(path)))
        cases += read
        problems += map(str, sorted(noted))
    if problems:
        raise CasesError(problems)
    return tuple(cases)


def read_cases(text: str, file: str) -> tuple[tuple[Case, ...], list[Problem]]:
    """The cases in `text`, and every problem with it; `file` is the name to show."""
    root, problems = nodes.parse(text, file)
    if problems:
        return (), problems  # of what could not be read nothing is known
    reader = _CasesReader(problems)
    return reader.cases(root), problems


class _CasesReader(ItemReader):
    """One method for each item of a file. It notes its problems and returns what could be read."""

    def cases(self, root: Node) -> tuple[Case, ...]:
        if not isinstance(root, nodes.Sequence) or not root.items:
            self.problem(root.place, "file", "no list of cases: begin each with `- name:`, and give it steps")
            return ()
        found: dict[str, Case] = {}
        for at, item in enumerate(root.items, 1):
            case = self.case(item, f"[{at}]")
            if case.name and case.name in found:
                line = found[case.name].place.line
                self.problem(item.place, f"[{at}].name", f'line {line} has a case "{case.name}" too: name each apart')
            found[case.name] = case
        return tuple(found.values())

    def case(self, node: Node, where: str) -> Case:
        members = self.mapping(node, where, _CASE_KEYS).members
        name = self.text(members.get("name"), f"{where}.name")
        if not name:
            self.problem(node.place, where, "a case needs a name: say what is so, as `name: large orders are refused`")
        steps: list[Step] = []
        for at, item in enumerate(self.sequence(members.get("steps"), f"{where}.steps"), 1):
            steps.append(self.step(item, f"{where}.steps[{at}]", steps[-1].time if steps else None))
        if not steps:
            self.problem(node.place, where, "a case needs steps: write `steps:` and a list of calls")
        return Case(name or "", tuple(steps), self.workload(members.get("workload"), f"{where}.workload"), node.place)

    def step(self, node: Node, where: str, before: float | None) -> Step:
        members = self.mapping(node, where, STEP_KEYS).members
        tool = self.text(members.get("call"), f"{where}.call")
        if tool is None:
            self.problem(node.place, where, "a step needs a call: write `call:` and the name of a tool")
        expect = self.choice(members.get("expect"), f"{where}.expect", EXPECTED, _TRIED)
        if "expect" not in members:
            self.problem(node.place, where, "a step needs what it expects: write `expect:` and allow, deny or approval")
        code = members.get("code")
        if code is not None and not (isinstance(code, Scalar) and re.fullmatch("-?[0-9]{1,9}", code.text)):
            self.problem(code.place, f"{where}.code", "a code is a whole number, as -32003")
            code = None
        step = Step(
            tool or "", self.arguments(members, where), expect or "refused", self.caller(members, where),
            self.time(members, where, before), node.place, rule=self.text(members.get("rule"), f"{where}.rule"),
            message=self.text(members.get("message"), f"{where}.message"),
            code=int(code.text) if isinstance(code, Scalar) else None,
        )  # fmt: skip
        if step.message is not None and not step.message.strip():
            text = "every message begins with nothing: write how this one begins, or remove the key"
            self.problem(members["message"].place, f"{where}.message", text)
        self.check(step, where)
        return step

    def check(self, step: Step, where: str) -> None:
        if step.expect == "allow" and (step.message or step.rule or step.code) is not None:
            self.problem(step.place, where, "who expects allow can expect no message, rule or code: remove them")
        elif step.code is not None and step.expect != "error":
            self.problem(step.place, where, "only an error has a code: remove it, or write expect: error")

    def arguments(self, members: Mapping[str, Node], where: str) -> Mapping[str, Any]:
        node, literal = members.get("arguments"), members.get("arguments_json")
        if literal is not None:
            where = f"{where}.arguments_json"
            if node is not None:
                self.problem(literal.place, where, "arguments stands here too: keep one of the two")
            text = self.text(literal, where)
            return self.strict(text, literal, where) if text is not None else {}
        if node is None or is_null(node):
            return {}
        return self.strict(_json_of(node), node, f"{where}.arguments")

    def strict(self, text: str, node: Node, where: str) -> dict[str, Any]:
        """The object in a JSON text, read as that of a call. What no call can carry is a problem."""
        try:
            value, _ = strict_json.read_value(text.encode("utf-8", "surrogatepass"))
        except strict_json.NotStrict as problem:
            self.problem(node.place, where, f"no call can carry this: {problem}")
            return {}
        if type(value) is not dict:
            self.problem(node.place, where, "arguments are an object: write names and values")
            return {}
        return value

    def caller(self, members: Mapping[str, Node], where: str) -> Caller:
        session = self.text(members.get("session"), f"{where}.session")
        if session == "":
            self.problem(members["session"].place, f"{where}.session", "a session needs a name: write one, or leave it")
        said = self.client(members.get("client"), f"{where}.client")
        principal = self.principal(members.get("principal"), f"{where}.principal")
        return Caller(session or SESSION, said.shown if said else "", principal, said)

    def principal(self, node: Node | None, where: str) -> Principal | None:
        if node is None or is_null(node):
            return None
        if isinstance(node, Scalar):
            return Principal(self.text(node, where) or self.subject(node, where))
        members = self.mapping(node, where, ("subject", "issuer", "claims")).members
        subject = self.text(members.get("subject"), f"{where}.subject") or self.subject(node, where)
        issuer = self.text(members.get("issuer"), f"{where}.issuer") or ""
        claims = members.get("claims")
        found = Principal(subject, issuer)
        if claims is None or is_null(claims):
            return found
        return replace(found, claims=self.strict(_json_of(claims), claims, f"{where}.claims"))

    def subject(self, node: Node, where: str) -> str:
        self.problem(node.place, where, "a principal needs a subject: write who it is, as `principal: anna`")
        return ""

    def client(self, node: Node | None, where: str) -> ClientInfo | None:
        if node is None or is_null(node):
            return None
        if isinstance(node, Scalar):
            name, version = self.text(node, where), None
        else:
            members = self.mapping(node, where, ("name", "version")).members
            name = self.text(members.get("name"), f"{where}.name")
            version = self.text(members.get("version"), f"{where}.version")
        return ClientInfo(shown(name) if name else "", name, version)

    def time(self, members: Mapping[str, Node], where: str, before: float | None) -> float:
        now = BEGIN if before is None else before
        at, after = members.get("at"), members.get("after")
        if after is not None:
            if at is not None:
                self.problem(after.place, f"{where}.after", "at stands here too: keep one of the two")
            return now + (self.seconds(after, f"{where}.after") or 0)
        if at is None:
            return now
        moment = _moment(at.text) if isinstance(at, Scalar) else None
        if moment is None:
            self.problem(at.place, f"{where}.at", "no time: write it as 2026-01-05T09:30:00Z")
            return now
        if before is not None and moment < before:
            self.problem(at.place, f"{where}.at", "this is before the step above: steps come one after the other")
            return now
        return moment

    def workload(self, node: Node | None, where: str) -> Mapping[str, str]:
        members = self.mapping(node, where, _WORKLOAD).members
        texts = {key: self.text(item, f"{where}.{key}") for key, item in members.items()}
        return {key: text for key, text in texts.items() if text}


def _moment(text: str) -> float | None:
    """Unix seconds of a time as RFC 3339 writes it; None for anything else."""
    if _MOMENT.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _json_of(node: Node) -> str:
    """The JSON text of a YAML value, its numbers as they are written where JSON writes them so too."""
    match node:
        case Scalar(value=str() as text):
            return json.dumps(text)
        case Scalar(value=bool() | None as value):
            return json.dumps(value)
        case Scalar():
            return node.text if _JSON_NUMBER.fullmatch(node.text) else str(node.value)
        case nodes.Sequence():
            return f"[{','.join(map(_json_of, node.items))}]"
        case nodes.Mapping():
            return f"{{{','.join(f'{json.dumps(key)}:{_json_of(item)}' for key, item in node.members.items())}}}"
