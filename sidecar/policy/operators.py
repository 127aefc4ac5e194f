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

    `demand` says what a rule wants of a value, with `{}` for the operand, and `ban` what a rule does that denies where
    the operator holds. `function` is its name in the Rego library; `negated` is True where it holds of what does not
    equal the operand. `decimal_text` is True where text can be told to count as the number that it writes.
    """

    name: str
    operand: Operand
    function: str
    demand: str
    ban: str
    negated: bool = False
    decimal_text: bool = False


OPERATORS: Final[Mapping[str, Operator]] = {
    operator.name: operator
    for operator in (
        Operator("eq", "value", "one_of", "must be {}", "must not be {}", decimal_text=True),
        Operator("neq", "value", "none_of", "must not be {}", "must be {}", negated=True, decimal_text=True),
        Operator("in", "values", "one_of", "must be {}", "must not be {}", decimal_text=True),
        Operator("not_in", "values", "none_of", "must not be {}", "must be {}", negated=True, decimal_text=True),
        Operator("lt", "number", "below", "must be less than {}", "must be at least {}", decimal_text=True),
        Operator("lte", "number", "at_most", "must be at most {}", "must be more than {}", decimal_text=True),
        Operator("gt", "number", "above", "must be more than {}", "must be at most {}", decimal_text=True),
        Operator("gte", "number", "at_least", "must be at least {}", "must be less than {}", decimal_text=True),
        Operator("regex", "pattern", "matches", "must match {}", "must not match {}"),
        Operator("not_regex", "pattern", "not_matches", "must not match {}", "must match {}"),
        Operator("contains", "value", "holds", "must contain {}", "must not contain {}"),
        Operator("not_contains", "value", "lacks", "must not contain {}", "must contain {}", negated=True),
        Operator("exists", "boolean", "present", "must be given", "must not be given"),
        Operator("within", "folders", "within", "must lie within {}", "must not lie within {}"),
        Operator("host_in", "hosts", "host_in", "must be a URL whose host is {}", "must not be a URL whose host is {}"),
    )
}
