"""Conditions as Rego: the lines that show that a call meets them, and those that show that it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from sidecar.policy import folders, hosts
from sidecar.policy.model import Amount, CallerPath, Condition, CounterName, Rule
from sidecar.policy.operators import OPERATORS
from sidecar.policy.paths import EACH, Path
from sidecar.policy.rego import array, literal, raw_string, readings, spellings, step, string

OPERATOR: Final = "operator"
"""The package in which an operator is true only when it is shown to hold."""
REFUTE: Final = "refute"
"""The package in which an operator is true only when it is shown not to hold."""
PLACE: Final = "place"
EXACT: Final = "exact"
LIBRARIES: Final = (EXACT, OPERATOR, PLACE, REFUTE)

Keys: TypeAlias = tuple[str, ...]
"""A part of a path without `[*]`."""
_Said: TypeAlias = Callable[[str], list[str]]
"""The lines about the value that an expression gives."""


def proof(rule: Rule) -> list[str]:
    """What shows that a call passes the rule, line by line."""
    return list(dict.fromkeys(line for lines in demands(rule) for line in lines))


def demands(rule: Rule) -> list[list[str]]:
    """What a rule demands of a call, one after the other, with the lines that show that it is met.

    The conditions of a rule that asks only say when it does; those of one that denies are in `refutations`.
    """
    found = [proved(condition) for condition in rule.asked] if rule.action == "evaluate" else []
    if rule.only is not None:
        found.append(_every("key", "input.keys", [f"key in {array(rule.only)}"]))
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
    document, path = _place(condition)
    if condition.op == "exists":
        return _proved_exists(document, path, there=condition.value is True)
    others = condition.times
    if others is not None and _lists(path) < _lists(others):
        path, others = others, path
    *lists, last = _parts(path)

    def said(reference: str) -> list[str]:
        if others is not None:
            factor, way = (reference, _parts(others)[-1]) if _lists(others) else (document, _keys(others))
            return _proved_product(condition, reference, last, factor, way)
        if condition.optional:
            given = f"{PLACE}.given({reference}, {array(last)})"
            return _every("value", given, _holds(condition, "value"))
        return _holds(condition, reference + _steps(last))

    return _in_lists(document, lists, said, optional=condition.optional)


def _proved_product(condition: Condition, reference: str, way: Keys, factor: str, factor_way: Keys) -> list[str]:
    if not condition.optional:
        product = _product(reference + _steps(way), factor + _steps(factor_way), condition.decimal_text)
        return [_holds_of(condition, product)]
    # Neither factor is there: nothing to judge. One of them alone is no product.
    pairs = f"{PLACE}.pairs_with([{reference}], {array(way)}, {factor}, {array(factor_way)})"
    return _every("pair", pairs, [_holds_of(condition, _product("pair[0]", "pair[1]", condition.decimal_text))])


def _proved_exists(document: str, path: Path, *, there: bool) -> list[str]:
    *lists, last = _parts(path)
    if there:
        return _in_lists(document, lists, lambda reference: [f"{reference}{_steps(last)} != null"])
    if not lists:
        # It has to hold where the path leads nowhere: it gets the path as steps, and looks itself.
        return [f"{OPERATOR}.absent({document}, {array(last)})"]
    return _in_lists(document, lists, lambda reference: [f"{PLACE}.given({reference}, {array(last)}) == []"],
                     optional=True)  # fmt: skip


def refuted(condition: Condition) -> list[str]:
    """The lines that hold together when the condition is shown not to hold, for whatever stands at its path."""
    document, path = _place(condition)
    *lists, last = _parts(path)
    if condition.op == "exists" and condition.value is False:
        return _in_lists(document, lists, lambda reference: [f"{reference}{_steps(last)} != null"])
    others = condition.times
    if others is None:
        values = f"{PLACE}.ends({_documents(document, lists)}, {array(last)})"
        return _every("value", values, [_refutes(condition, "value")])
    if _lists(path) < _lists(others):
        path, others = others, path
    *lists, last = _parts(path)
    documents = _documents(document, lists)
    if _lists(others):
        pairs = f"{PLACE}.pairs({documents}, {array(last)}, {array(_parts(others)[-1])})"
    else:
        pairs = f"{PLACE}.pairs_with({documents}, {array(last)}, {document}, {array(_keys(others))})"
    product = _product("pair[0]", "pair[1]", condition.decimal_text)
    return _every("pair", pairs, [_call(REFUTE, condition, product)])


def amount(of: Amount, head: str) -> str:
    """The rule by which the library gets the amount; undefined where it cannot be counted."""
    path, others = of.path, of.times
    if others is not None and _lists(path) < _lists(others):
        path, others = others, path
    *lists, last = _parts(path)

    def counted(reference: str) -> str:
        value = reference + _steps(last)
        if others is None:
            return f"{EXACT}.amount({_number(value, of.decimal_text)})"
        factor = reference + _steps(_parts(others)[-1]) if _lists(others) else argument(others)
        values = ", ".join(_number(each, of.decimal_text) for each in (value, factor))
        return f"{EXACT}.counted_product({values})"

    if not lists:
        return f"{head} := {counted('input.arguments')}\n"
    documents = "[input.arguments]"
    for keys in lists:
        documents = f"{PLACE}.listed({documents}, {array(keys)})"
    # What cannot be counted would be left out of the list: so as many have to be counted as there are.
    return (
        f"{head} := {EXACT}.total(counted) if {{\n"
        f"\telements := {documents}\n"
        f"\tcounted := [{counted('element')} | some element in elements]\n"
        "\tcount(counted) == count(elements)\n"
        "}\n"
    )


def argument(path: Path) -> str:
    """The reference to an argument."""
    return "input.arguments" + _steps(_keys(path))


def libraries(blocks: Sequence[str]) -> set[str]:
    """The packages of the library that some Rego calls."""
    return {library for library in LIBRARIES if any(f"{library}." in block for block in blocks)}


def _is_plain(of: Amount) -> bool:
    return of.times is None and not of.decimal_text and EACH not in of.path


def _in_lists(
    document: str, lists: Sequence[Keys], said: _Said, *, optional: bool = False, depth: int = 1
) -> list[str]:  # fmt: skip
    """What is said of each element of lists in lists; of the document itself if there is none."""
    if not lists:
        return said(document)
    keys, *others = lists
    element = "element" if depth == 1 else f"element_{depth}"
    lines = _in_lists(element, others, said, optional=optional, depth=depth + 1)
    if optional:
        return _every(element, f"{PLACE}.given_elements({document}, {array(keys)})", lines)
    collection = document + _steps(keys)
    return [f"is_array({collection})", *_every(element, collection, lines)]


def _documents(document: str, lists: Sequence[Keys]) -> str:
    documents = f"[{document}]"
    for keys in lists:
        documents = f"{PLACE}.elements({documents}, {array(keys)})"
    return documents


def _every(variable: str, collection: str, lines: Sequence[str]) -> list[str]:
    """One expression: the lines hold for every element; its lines after the first are indented as `opa fmt` does."""
    body = "".join(f"\t{part}\n" for line in lines for part in line.split("\n"))
    return [f"every {variable} in {collection} {{\n{body}}}"]


def _holds(condition: Condition, reference: str) -> list[str]:
    """The lines that show that the operator holds of what a reference leads to."""
    if condition.op in _SIGNS and not condition.decimal_text:
        return _compared(reference, condition.op, literal(condition.value))
    return [_holds_of(condition, _number(reference, condition.decimal_text))]


def _holds_of(condition: Condition, value: str) -> str:
    """The line that shows that the operator holds of the value of any expression."""
    if condition.op in ("eq", "in"):
        return f"{value} in {_operand(condition, OPERATOR)}"
    return _call(OPERATOR, condition, value)


def _refutes(condition: Condition, value: str) -> str:
    if condition.op == "exists":
        return f"{value} == null"
    return _call(REFUTE, condition, _number(value, condition.decimal_text))


def _number(value: str, decimal_text: bool) -> str:
    return f"{EXACT}.decimal({value})" if decimal_text else value


def _product(one: str, other: str, decimal_text: bool) -> str:
    return f"{EXACT}.product({_number(one, decimal_text)}, {_number(other, decimal_text)})"


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


def _keys(path: Path) -> Keys:
    (keys,) = _parts(path)
    return keys


def _lists(path: Path) -> int:
    return path.count(EACH)


def _steps(keys: Keys) -> str:
    return "".join(map(step, keys))


def _call(library: str, condition: Condition, value: str) -> str:
    return f"{library}.{OPERATORS[condition.op].function}({value}, {_operand(condition, library)})"


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


_SIGNS: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
