"""The operators of conditions, one entry each: the table behind the reader, the compiler, the schema and the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Operand: TypeAlias = Literal["value", "values", "number", "boolean", "pattern", "folders", "hosts"]
"""What an operator compares with."""
OPERANDS: Final[Mapping[Operand, str]] = {
    "value": "any value",
    "values": "a list of values",
    "number": "a number",
    "boolean": "`true` or `false`",
    "pattern": "an RE2 pattern",
    "folders": "a folder, or a list of folders",
    "hosts": "a list of hosts",
}
"""Each kind of operand in words, as the documents say it."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    `demand` says what a rule wants of a value, with `{}` for the operand, and `ban` what a rule does that denies where
    the operator holds. `function` is its name in the Rego library; `meaning` is when it is true, as the documents say
    it, in Markdown. `negated` is True where it holds of what does not equal the operand. `decimal_text` is True where
    text can be told to count as the number that it writes. `judges_nul` is True where no text with a NUL character, at
    which a server in C ends it, is what the operator looks for: it cannot be deceived by one.
    """

    name: str
    operand: Operand
    function: str
    demand: str
    ban: str
    meaning: str
    negated: bool = False
    decimal_text: bool = False
    judges_nul: bool = False


OPERATORS: Final[Mapping[str, Operator]] = {
    operator.name: operator
    for operator in (
        Operator(
            "eq", "value", "one_of", "must be {}", "must not be {}",
            "the value equals it. Numbers compare by value (1 = 1.0). A text also equals the number or boolean "
            'that is written the same way in plain decimals (`"5"` = 5, `"true"` = true; `"5.0"` and `"05"` equal'
            " no number). Lists, objects and null compare as JSON values",
            decimal_text=True,
        ),
        Operator(
            "neq", "value", "none_of", "must not be {}", "must be {}",
            "the path exists, and `eq` is not true",
            negated=True, decimal_text=True,
        ),
        Operator(
            "in", "values", "one_of", "must be {}", "must not be {}",
            "`eq` is true for one item of the list",
            decimal_text=True,
        ),
        Operator(
            "not_in", "values", "none_of", "must not be {}", "must be {}",
            "the path exists, and `eq` is true for no item of the list",
            negated=True, decimal_text=True,
        ),
        Operator(
            "lt", "number", "below", "must be less than {}", "must be at least {}",
            "the value is a number and less; a number in quotes is text",
            decimal_text=True,
        ),
        Operator(
            "lte", "number", "at_most", "must be at most {}", "must be more than {}",
            "the value is a number and less or equal",
            decimal_text=True,
        ),
        Operator(
            "gt", "number", "above", "must be more than {}", "must be at most {}",
            "the value is a number and greater",
            decimal_text=True,
        ),
        Operator(
            "gte", "number", "at_least", "must be at least {}", "must be less than {}",
            "the value is a number and greater or equal",
            decimal_text=True,
        ),
        Operator(
            "regex", "pattern", "matches", "must match {}", "must not match {}",
            "the value is a text of up to 65,536 characters, and the pattern matches anywhere in it. A longer "
            "text is not evaluated, so the condition is false",
        ),
        Operator(
            "not_regex", "pattern", "not_matches", "must not match {}", "must match {}",
            "the value is a text of up to 65,536 characters, and the pattern matches nowhere in it",
        ),
        Operator(
            "contains", "value", "holds", "must contain {}", "must not contain {}",
            "the value is a text that contains the given text, or a list with an element that equals it",
        ),
        Operator(
            "not_contains", "value", "lacks", "must not contain {}", "must contain {}",
            "the value is a text or a list, and `contains` is not true",
            negated=True,
        ),
        Operator(
            "exists", "boolean", "absent", "must be given", "must not be given",
            "`true`: the value exists and is not null; `false`: it is missing or null",
        ),
        Operator(
            "within", "folders", "within", "must lie within {}", "must not lie within {}",
            "the value is an absolute path, as text, that is the folder or lies below it when `.`, `..` and "
            "repeated slashes are resolved. It reads the text, not the disk: a symbolic link below the folder can"
            " lead out",
            judges_nul=True,
        ),
        Operator(
            "host_in", "hosts", "host_in", "must be a URL whose host is {}", "must not be a URL whose host is {}",
            "the value is an absolute `http` or `https` URL, and its host is in the list: `example.com` with the "
            "port of the scheme, `example.com:8443` with that port, `example.com:*` with any, `*.example.com` for"
            " every name below",
            judges_nul=True,
        ),
    )
}  # fmt: skip
