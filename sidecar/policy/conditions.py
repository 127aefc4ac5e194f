"""Conditions as Rego: the lines that show that a call meets them, and those that show that it does not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sidecar.policy import folders, hosts
from sidecar.policy.model import Amount, CallerPath, Condition, CounterName, Rule
from sidecar.policy.operators import OPERATORS
from sidecar.policy.paths import EACH, Path
from sidecar.policy.rego import array, code, literal, raw_string, readings, spellings, step, string

OPERATOR: Final = "operator"
"""The package in which an operator is true only when it is shown to hold."""
REFUTE: Final = "refute"
"""The package in which an operator is true only when it is shown not to hold."""
PLACE: Final = "place"
EXACT: Final = "exact"
LIBRARIES: Final = (EXACT, OPERATOR, PLACE, REFUTE)

Keys: TypeAlias = tuple[str, ...]
"""A part of a path without `[*]`."""

_AT: Final = "at"
"""The variable for the position of a value among those that are looked at."""
_ONE: Final = "0"
"""The position of a value that is looked at alone."""


def proof(rule: Rule) -> list[str]:
    """What shows that a call passes the rule, line by line."""
    return list(dict.fromkeys(line for lines in demands(rule) for line in lines))


def demands(rule: Rule) -> list[list[str]]:
    """What a rule demands of a call, one after the other, with the lines that show that it is met.

    The conditions of a rule that asks only say when it does; those of one that denies are in `refutations`.
    """
    found = [proved(condition) for condition in rule.asked] if rule.action == "evaluate" else []
    if rule.only is not None:
        found.append(_every("input.keys", [f"value in {array(rule.only)}"]))
    limit = rule.spend_limit
    if limit and limit.per_call is not None:
        amount = limit.amount
        counted = argument(amount.path) if _is_plain(amount) else f"amounts[{string(rule.id)}]"
        found.append(_compared(counted, "lte", literal(limit.per_call)))
    return found


def refutations(rule: Rule) -> list[list[str]]:
    """The ways to show that a rule that denies or asks is not about a call: the lines of each, one for a condition."""
    return [refuted(condition) for condition in rule.asked]


def proved(condition: Condition) -> list[str]:
    """The lines that hold together when the condition does; what is simple is written out, since a call costs time."""
    look = _look(condition)
    if condition.op == "exists":
        return _proved_exists(look, there=condition.value is True)
    if look.factor is not None:
        if not (look.lists or condition.optional):
            factors = (look.document + _steps(look.last), look.factor.reference)
            return [_holds_of(condition, _ONE, _product(factors, condition.decimal_text))]
        documents = look.documents("elements" if condition.optional else "listed")
        products = look.products(documents, condition.decimal_text, either=condition.optional)
        return _every(products, [_holds_of(condition, _AT, "value")])
    if not (look.lists or condition.optional):
        return _holds(condition, _ONE, look.document + _steps(look.last), condition.decimal_text)
    if condition.optional:
        values = f"{PLACE}.given({look.documents('given_listed')}, {array(look.last)})"
    else:
        values = f"{PLACE}.values({look.documents('listed')}, {array(look.last)})"
    return _every(_numbers(values, condition.decimal_text), _holds(condition, _AT, "value", decimal_text=False))


def _proved_exists(look: _Look, *, there: bool) -> list[str]:
    if not look.lists:
        # It has to hold where the path leads nowhere: it gets the path as steps, and looks itself.
        absent = f"{OPERATOR}.absent({look.document}, {array(look.last)})"
        return [f"{look.document}{_steps(look.last)} != null" if there else absent]
    if there:
        return _every(f"{PLACE}.values({look.documents('listed')}, {array(look.last)})", ["value != null"])
    return [f"{PLACE}.given({look.documents('given_listed')}, {array(look.last)}) == []"]


def refuted(condition: Condition) -> list[str]:
    """The lines that hold together when the condition is shown not to hold, for whatever stands at its path."""
    look = _look(condition)
    if condition.op == "exists" and condition.value is False:
        return _proved_exists(look, there=True)
    documents = look.documents("elements")
    if look.factor is not None:
        products = look.products(documents, condition.decimal_text, either=True)
        return _every(products, [_call(REFUTE, condition, _AT, "value")])
    values = f"{PLACE}.ends({documents}, {array(look.last)})"
    if condition.op == "exists":
        return _every(values, ["value == null"])
    return _every(_numbers(values, condition.decimal_text), [_call(REFUTE, condition, _AT, "value")])


def amount(of: Amount, head: str) -> str:
    """The rule by which the library gets the amount; undefined where it cannot be counted."""
    look = _look_at("input.arguments", of.path, of.times)
    if not look.lists:
        value = look.document + _steps(look.last)
        if look.factor is None:
            return f"{head} := {EXACT}.amount({_number(value, of.decimal_text)})\n"
        factors = ", ".join(_number(each, of.decimal_text) for each in (value, look.factor.reference))
        return f"{head} := {EXACT}.counted_product({factors})\n"
    documents = look.documents("listed")
    if look.factor is None:
        values = f"{PLACE}.values({documents}, {array(look.last)})"
        return f"{head} := {EXACT}.total({_numbers(values, of.decimal_text)})\n"
    sides = ", ".join(_numbers(side, of.decimal_text) for side in look.sides(documents))
    return f"{head} := {EXACT}.total_of_products({sides})\n"


def argument(path: Path) -> str:
    """The reference to an argument."""
    (keys,) = _parts(path)
    return "input.arguments" + _steps(keys)


def libraries(blocks: Sequence[str]) -> set[str]:
    """The packages of the library that some Rego calls."""
    return {found for block in blocks for found in _LIBRARY.findall(code(block))}


def _is_plain(of: Amount) -> bool:
    return of.times is None and not of.decimal_text and EACH not in of.path


@dataclass(frozen=True, slots=True)
class _Factor:
    """The other factor of a product: at a way from the same elements, or from a document of its own."""

    document: str | None
    way: Keys

    @property
    def reference(self) -> str:
        assert self.document is not None  # outside of lists
        return self.document + _steps(self.way)


@dataclass(frozen=True, slots=True)
class _Look:
    """Where a condition or an amount looks: from a document through lists, and from their elements along `last`."""

    document: str
    lists: tuple[Keys, ...]
    last: Keys
    factor: _Factor | None

    def documents(self, function: str) -> str:
        """The elements of the innermost lists, by one of the functions of `intercept.place`; else the document."""
        documents, beside = f"[{self.document}]", ""
        if function == "elements" and self.factor is not None and self.factor.document is not None:
            function, beside = "elements_beside", f", {self.factor.document}, {array(self.factor.way)}"
        for keys in self.lists:
            documents = f"{PLACE}.{function}({documents}, {array(keys)}{beside})"
        return documents

    def sides(self, documents: str) -> tuple[str, str]:
        """The two factors of each product, as two lists of the same length."""
        assert self.factor is not None
        if self.factor.document is None:
            other = f"{PLACE}.each({documents}, {array(self.factor.way)})"
        else:
            other = f"{PLACE}.same({documents}, {self.factor.document}, {array(self.factor.way)})"
        return f"{PLACE}.each({documents}, {array(self.last)})", other

    def products(self, documents: str, decimal_text: bool, *, either: bool) -> str:
        """The products; with `either` nothing stands for elements in which neither factor is there."""
        assert self.factor is not None
        if either and self.factor.document is None:
            documents = f"{PLACE}.with_either({documents}, {array(self.last)}, {array(self.factor.way)})"
        elif either:
            there = f"{self.factor.document}, {array(self.factor.way)}"
            documents = f"{PLACE}.with_either_in({documents}, {array(self.last)}, {there})"
        one, other = (_numbers(side, decimal_text) for side in self.sides(documents))
        return f"{EXACT}.products({one}, {other})"


def _look(condition: Condition) -> _Look:
    document, path = _place(condition)
    return _look_at(document, path, condition.times)


def _look_at(document: str, path: Path, times: Path | None) -> _Look:
    if times is not None and path.count(EACH) < times.count(EACH):
        path, times = times, path  # the one with the lists leads
    *lists, last = _parts(path)
    factor = None
    if times is not None:
        same = EACH in times  # then in the same list
        factor = _Factor(None if same else document, _parts(times)[-1])
    return _Look(document, tuple(lists), last, factor)


def _every(values: str, lines: Sequence[str]) -> list[str]:
    """One expression: the lines hold for every value; its lines after the first are indented as `opa fmt` does."""
    position = f"{_AT}, " if any(f"({_AT}, " in code(line) for line in lines) else ""
    body = "".join(f"\t{line}\n" for line in lines)
    return [f"every {position}value in {values} {{\n{body}}}"]


def _holds(condition: Condition, at: str, reference: str, decimal_text: bool) -> list[str]:
    """The lines that show that the operator holds of what a reference leads to."""
    if condition.op in _SIGNS and not decimal_text:
        return _compared(reference, condition.op, literal(condition.value))
    return [_holds_of(condition, at, _number(reference, decimal_text))]


def _holds_of(condition: Condition, at: str, value: str) -> str:
    """The line that shows that the operator holds of the value of any expression."""
    if condition.op in ("eq", "in"):
        return f"{value} in {_operand(condition, OPERATOR)}"
    return _call(OPERATOR, condition, at, value)


def _number(value: str, decimal_text: bool) -> str:
    return f"{EXACT}.decimal({value})" if decimal_text else value


def _numbers(values: str, decimal_text: bool) -> str:
    return f"{EXACT}.decimals({values})" if decimal_text else values


def _product(factors: tuple[str, str], decimal_text: bool) -> str:
    return f"{EXACT}.product({', '.join(_number(factor, decimal_text) for factor in factors)})"


def _compared(reference: str, op: str, bound: str) -> list[str]:
    # Of any other type OPA would say by its order of types whether it is below the bound.
    return [f"is_number({reference})", f"{reference} {_SIGNS[op]} {bound}"]


def _place(condition: Condition) -> tuple[str, Path]:
    """The document that a condition looks into, and the way: a counter is one step into it."""
    match condition.subject:
        case CounterName() as name:
            return "input.counters", (str(name),)
        case CallerPath(root, steps):
            return "input", (root, *steps)
        case path:
            return "input.arguments", path


def _parts(path: Path) -> list[Keys]:
    """The path cut at each `[*]`: the ways to lists, and from the elements of the last one to the value."""
    parts: list[list[str]] = [[]]
    for one in path:
        if one is EACH:
            parts.append([])
        else:
            parts[-1].append(one)
    return [tuple(part) for part in parts]


def _steps(keys: Keys) -> str:
    return "".join(map(step, keys))


def _call(library: str, condition: Condition, at: str, value: str) -> str:
    return f"{library}.{OPERATORS[condition.op].function}({at}, {value}, {_operand(condition, library)})"


def _operand(condition: Condition, library: str) -> str:
    """What the value is compared with."""
    # In each library the operators on the safe side also compare the doubles that servers may read.
    operator = OPERATORS[condition.op]
    equal = readings if operator.negated is (library == OPERATOR) else spellings
    value = condition.value
    match operator.operand:
        case "value":
            return array(equal(value))
        case "values":
            assert isinstance(value, tuple)
            return array(each for item in value for each in equal(item))
        case "pattern":
            return raw_string(str(value))
        case "folders":
            return literal(folders.compiled(value))
        case "hosts":
            return literal(hosts.compiled(value))
        case _:
            return literal(value)


# Not a step of a reference: an argument may have the name of a library.
_LIBRARY: Final = re.compile(rf"(?<![\w.])({'|'.join(LIBRARIES)})\.")
_SIGNS: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
