"""The operators of conditions, one entry each: the table behind the reader, the compiler, the schema and the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Operand: TypeAlias = Literal["value", "values", "number", "boolean", "pattern", "folders", "hosts"]
"""What an operator compares with: any value, a list of them, a number, true or false, an RE2 pattern, one folder or
several, a list of hosts."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    `words` say what a value must do, with `{}` for the operand; a rule that denies says "must not". `function` is its
    name in the Rego library; `negated` is True where it holds of what does not equal the operand. `decimal_text` is
    True where text can be told to count as the number that it writes.
    """

    name: str
    operand: Operand
    words: str
    function: str
    negated: bool = False
    decimal_text: bool = False


OPERATORS: Final[Mapping[str, Operator]] = {
    operator.name: operator
    for operator in (
        Operator("eq", "value", "be {}", "one_of", decimal_text=True),
        Operator("neq", "value", "be other than {}", "none_of", negated=True, decimal_text=True),
        Operator("in", "values", "be one of {}", "one_of", decimal_text=True),
        Operator("not_in", "values", "be none of {}", "none_of", negated=True, decimal_text=True),
        Operator("lt", "number", "be less than {}", "below", decimal_text=True),
        Operator("lte", "number", "be at most {}", "at_most", decimal_text=True),
        Operator("gt", "number", "be more than {}", "above", decimal_text=True),
        Operator("gte", "number", "be at least {}", "at_least", decimal_text=True),
        Operator("regex", "pattern", "match {}", "matches"),
        Operator("not_regex", "pattern", "be a text that does not match {}", "not_matches"),
        Operator("contains", "value", "contain {}", "holds"),
        Operator("not_contains", "value", "be a text or list that does not contain {}", "lacks", negated=True),
        Operator("exists", "boolean", "be given", "present"),
        Operator("within", "folders", "lie within {}", "within"),
        Operator("host_in", "hosts", "be an http or https URL whose host is {}", "host_in"),
    )
}
