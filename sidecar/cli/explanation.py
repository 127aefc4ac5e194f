"""What the engine decides on calls, and what each rule says about them, as text for people.

Which rule is met, and which of its conditions, is asked from the engine. Here it is only put into words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from sidecar.cli.kept_counters import KeptCounters, counter_of, kept
from sidecar.decision.arguments import HOLDS_NUL, Projection, has_nul
from sidecar.decision.decision import Approval, Decision, Visible, safe_reason
from sidecar.decision.question import question, question_about_list
from sidecar.engine import binary
from sidecar.errors import StartError, UsageError
from sidecar.ledger.values import Amount, Counter, Reservation, add
from sidecar.mcp import strict_json
from sidecar.policy.applies import applying, refused_at
from sidecar.policy.bundle import Bundle, build
from sidecar.policy.compile import compile_policy, each_condition
from sidecar.policy.model import CallerPath, Condition, CounterName, Policy, PolicyEntry, Rule
from sidecar.policy.paths import Path as Way
from sidecar.policy.paths import shown
from sidecar.policy.problem import Place
from sidecar.policy.read_items import listed
from sidecar.policy.rego import plain_number
from sidecar.text import shown as name_shown
from sidecar.text import visible

LONGEST: Final = 200
"""Characters of a value of the call that are shown."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call to explain."""

    tool: str
    arguments: dict[str, Any]


class Explained(msgspec.Struct):
    """The engine's answer on a call, and by the rules' ids what it shows of each.

    `shows` has the positions of conditions: of a rule of `evaluate` those that hold, of another those that do not.
    """

    decision: Decision
    passes: list[str]
    shows: dict[str, list[int]]
    amounts: dict[str, Amount]


class Explainer:
    """Explains calls under one policy, by the counters of a store."""

    def __init__(self, opa: Path, policy: Policy, settings: Mapping[str, Place], store: KeptCounters) -> None:
        """`settings` are the places of the policy's settings, by their names."""
        self._opa = opa
        self._policy = policy
        self._settings = settings
        self._store = store
        self.bundle: Bundle = build(compile_policy(policy), serial=1)
        """What a sidecar would have in force."""
        self._files = {**self.bundle.files, **each_condition(policy)}

    def explain(self, calls: Sequence[Call]) -> list[Explained]:
        """The engine's answers on calls. Raises `UsageError` for one that the sidecar would not put to the engine."""
        documents = [self._document(call) for call in calls]
        rules = "some rule in data.intercept.rules"
        shown_of = "[at | data.intercept.policy.shows[rule.id][at]]"
        parts = {
            "decision": "data.intercept.decision",
            "passes": f"[rule.id | {rules}; data.intercept.policy.passes[rule.id]]",
            "shows": f"{{rule.id: shown | {rules}; shown := {shown_of}}}",
            "amounts": f"{{rule.id: amount | {rules}; amount := data.intercept.policy.amounts[rule.id]}}",
        }
        asked = "; ".join(f"{name} := {part} with input as question" for name, part in parts.items())
        answer = "{" + ", ".join(f'"{name}": {name}' for name in parts) + "}"
        query = f"[answer | some question in input; {asked}; answer := {answer}]"
        found = binary.evaluate(self._opa, query, f"[{','.join(documents)}]", self._files)
        try:
            answers = msgspec.json.decode(found, type=list[Explained])
        except msgspec.ValidationError as error:
            raise StartError(f"opa's answer has not the agreed shape: {error}") from None
        if len(answers) != len(calls):
            raise StartError("opa has no answer on a call")
        return answers

    def refusal(self, call: Call) -> str | None:
        """Why the sidecar would not put a call to the engine at all, or None."""
        try:
            self._document(call)
        except UsageError as problem:
            return str(problem)
        return None

    def outcome(self, call: Call, explained: Explained) -> tuple[str, str]:
        """What becomes of a call, limits included (`allow`, `deny` or `require_approval`), and why."""
        decision = explained.decision
        for item in decision.reserve:
            if item.counter in self.bundle.terms.monitored:
                continue  # it only reports
            (total,) = self._store.totals([kept(item, call.tool)])
            wanted = Reservation(item.counter, "", item.seconds, item.amount, item.limit, item.exclusive)
            if decision.action == "allow" and not wanted.admits(add(total or 0, item.amount)):
                return "deny", item.reason
        return decision.action, safe_reason(decision) or "every rule that applies is met"

    def details(self, call: Call, explained: Explained, *, refused: bool) -> Iterator[str]:
        """A line for whatever there is to say of a call beside its outcome."""
        if self.bundle.terms.monitor:
            yield "the policy only monitors: the call is forwarded all the same"
        if explained.decision.approval:
            yield from _approval(explained.decision.approval, four_eyes=self.bundle.terms.approvals.four_eyes)
        for name, value in self.bundle.terms.risks.of(call.tool).document.items():
            yield f"{name}: {value}"
        for item in explained.decision.violations:
            if place := refused_at(self._policy, self._settings, item.kind, call.tool):
                yield f"refuses {item.rule} ({place.file}:{place.line})"
        totals = self._totals_read(call)
        rules = [(entry, rule) for entry in applying(self._policy).about(call.tool) for rule in entry.rules]
        for entry, rule in rules:
            yield f"{_verdict(rule, explained)} {rule.name} ({rule.place.file}:{rule.place.line})"
            for demand in _demands(rule, call.arguments, totals, explained):
                yield f"    {demand}"
            if rule.counter:
                yield f"    {self._counted(entry, rule, call, explained, refused=refused)}"
        if not rules:
            yield f"no rule is about this tool; default: {self._policy.default}"

    def withheld(self, tool: str) -> str | None:
        """The rule for which a list does not show a tool."""
        document = msgspec.json.decode(question_about_list("explain", [tool]), type=dict[str, msgspec.Raw])["input"]
        found = binary.evaluate(self._opa, "data.intercept.decision", bytes(document).decode(), self.bundle.files)
        return msgspec.json.decode(found, type=Visible).hidden.get(tool)

    def _document(self, call: Call) -> str:
        reads = self.bundle.terms.reads_of(call.tool)
        try:
            read = Projection(reads.paths, reads.only or (), beside=reads.shadow_paths).of(call.arguments)
        except ValueError as problem:
            raise UsageError(f"the sidecar would refuse this call: {problem}") from None
        if has_nul(Projection(reads.no_nul, guarded=False, whole=reads.whole).of(call.arguments)):
            raise UsageError(f"the sidecar would refuse this call: {HOLDS_NUL}")
        totals = {name: total or 0 for name, total in self._totals_read(call).items()}
        keys = sorted(call.arguments) if reads.names else None
        body = question("explain", call.tool, read, totals, keys=keys)
        return bytes(msgspec.json.decode(body, type=dict[str, msgspec.Raw])["input"]).decode()

    def _totals_read(self, call: Call) -> dict[str, Amount | None]:
        """The totals of the counters that rules read, by the names in their paths."""
        reads = self.bundle.terms.reads_of(call.tool).counters
        totals = self._store.totals([kept(item, call.tool) for item in reads])
        return dict(zip((item.name for item in reads), totals, strict=True))

    def _counted(self, entry: PolicyEntry, rule: Rule, call: Call, explained: Explained, *, refused: bool) -> str:
        counter: Counter = counter_of(entry, rule, call.tool)
        (total,) = self._store.totals([counter])
        taken = explained.amounts.get(rule.id) if rule.amount else (rule.state.increment if rule.state else 1)
        if taken is None:
            what = "has nothing that can be counted"
        else:
            amount = plain_number(Decimal(taken))
            what = f"is refused and counts nothing ({amount} if it were allowed)" if refused else f"counts {amount}"
        if self._store.missing:
            return f"counted from 0: no {self._store.missing} given; this call {what}"
        return f"the counter stands at {_total(total)}; this call {what}"


def _approval(approval: Approval, *, four_eyes: bool) -> Iterator[str]:
    """What the approval has to be that a call needs, by all the rules that ask."""
    people = "1 person" if approval.approvers == 1 else f"{approval.approvers} different people"
    others = ", none of them who asked (four_eyes)" * four_eyes
    yield f"approval: by {people} within {approval.timeout} s{others}; to be used within {approval.use_within} s"
    if grant := approval.grant:
        same = listed([shown("args", path) for path in grant.same], "and")
        no_greater = f", and no greater {listed([shown('args', path) for path in grant.at_most])}" * bool(grant.at_most)
        yield f"or for {grant.calls} calls within {grant.seconds} s, with the same {same}{no_greater}"


def _verdict(rule: Rule, explained: Explained) -> str:
    watches = " (in shadow: only reports)" if rule.shadow else " (only reports)" if rule.monitor else ""
    if any(item.rule == rule.name and item.kind == "invalid_amount" for item in explained.decision.violations):
        return f"refuses{watches}, for want of an amount:"
    if rule.id not in explained.passes:
        return f"refuses{watches}"
    if rule.action == "require_approval":
        asks = not explained.shows.get(rule.id)
        return f"asks for an approval{watches}:" if asks else f"does not ask for an approval{watches}:"
    if rule.counter is None:
        return "passes "
    bound = rule.bound
    limit = f"{'less than' if bound.exclusive else 'at most'} {plain_number(bound.value)}" if bound else "no limit"
    return f"counts, {limit} in {'any ' * rule.window.sliding}{rule.window.seconds} s ({rule.scope}){watches}:"


def _demands(
    rule: Rule, arguments: dict[str, Any], totals: Mapping[str, Amount | None], explained: Explained
) -> Iterator[str]:  # fmt: skip
    """What a rule asks of a call, what it read, and whether it is so: in the order of its conditions."""
    shows = explained.shows.get(rule.id, [])
    evaluates = rule.action == "evaluate"
    said = [f"{_condition(condition)}; the call has {_found(condition, arguments, totals)}" for condition in rule.asked]
    if rule.only is not None:
        names = ", ".join(map(name_shown, sorted(arguments)))
        said.append(f"only {', '.join(rule.only)}; the call has {names or 'nothing'}")
    if rule.spend_limit and rule.spend_limit.per_call is not None:
        amount = explained.amounts.get(rule.id)
        has = "nothing that can be counted" if amount is None else plain_number(Decimal(amount))
        said.append(f"at most {plain_number(rule.spend_limit.per_call)} in one call; the call has {has}")
    for at, text in enumerate(said):
        if evaluates or rule.spend_limit:
            yield f"{text}: {'holds' if at in shows else 'FAILS'}"
        else:
            yield f"{text}: {'does not hold' if at in shows else 'holds'}"


def _condition(condition: Condition) -> str:
    path = _named(condition.subject)
    if condition.times is not None:
        path += f" times {_named(condition.times)}"
    extras = [name for name in ("decimal_text", "optional") if getattr(condition, name)]
    more = f" ({', '.join(extras)})" if extras else ""
    return f"{path} {condition.op} {_encode(condition.value).decode()}{more}"


def _named(subject: Way | CounterName | CallerPath) -> str:
    return shown("args", subject) if isinstance(subject, tuple) else str(subject)


def _found(condition: Condition, arguments: dict[str, Any], totals: Mapping[str, Amount | None]) -> str:
    match condition.subject:
        case CounterName() as name:
            return _total(totals[str(name)])
        case CallerPath():
            return "nothing there: who asks is not known here"
        case path:
            found = _value(arguments, path)
            return found if condition.times is None else f"{found} and {_value(arguments, condition.times)}"


def _value(arguments: Any, path: Way) -> str:
    """What stands at a path of the call: all that does where it leads into lists."""
    found = [arguments]
    for step in path:
        if step is None:
            found = [element for value in found if type(value) is list for element in value]
        else:
            found = [value[step] for value in found if type(value) is dict and step in value]
    if None in path:
        text = strict_json.encode(found).decode()
    else:
        text = strict_json.encode(found[0]).decode() if found else "nothing there"
    return visible(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def _total(total: Amount | None) -> str:
    return "0 in a new session" if total is None else plain_number(Decimal(total))


_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
