"""YAML text to a tree of nodes, every one with its place. Knows YAML, nothing of policies.

Scalars are read by the core schema of YAML 1.2, with `0b11` and `1_000` as numbers too: `yes`, `on`, `12:30` and dates
are text, `1e3` is a number. Numbers are exact (`Decimal`). Refused: duplicate keys, merge keys, tags, a second
document, `.inf` and `.nan`, keys that are no text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

import yaml

from sidecar.policy.not_yaml import fault
from sidecar.policy.problem import Place, Problem

MAX_NODES: Final = 500_000
"""Nodes in one file; a node that aliases repeat counts each time."""
MAX_DEPTH: Final = 64
MAX_PARSED_DEPTH: Final = 500
"""Levels that libyaml's composer may go into, which calls itself for each and ends the process where the stack does."""
MAX_NUMBER_LENGTH: Final = 400
MAX_EXPONENT: Final = 400

Plain: TypeAlias = None | bool | Decimal | str


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value without parts. `text` is its spelling in the file."""

    value: Plain
    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Mapping:
    """An object. The place of each key is in `keys`, its value in `members`, both in the order of the file."""

    members: dict[str, Node]
    keys: dict[str, Place]
    place: Place


Node: TypeAlias = Scalar | Sequence | Mapping


def parse(text: str, file: str) -> tuple[Node, list[Problem]]:
    """The tree of the one document in `text`, and every problem found on the way.

    `file` is the name to show. An empty scalar stands for whatever could not be read, and for an empty file.
    """
    top = Place(file, 1, 1)
    try:
        if _is_deep(text):
            return Scalar(None, "", top), [Problem(top, "file", f"nested deeper than {MAX_DEPTH} levels: write less")]
        documents = list(yaml.compose_all(text, Loader=yaml.CBaseLoader))
        tags = [token for token in _tokens(text) if isinstance(token, yaml.TagToken)]
    except yaml.YAMLError as error:
        found = fault(text, error)
        return Scalar(None, "", top), [Problem(Place(file, found.line, found.column), "file", found.text)]
    if not documents:
        return Scalar(None, "", top), []
    tree = _Tree(file)
    for tag in tags:
        shown = "".join(filter(None, tag.value))
        tree.problem(tag, "file", f"{shown} is a tag, and tags are not supported: remove it, or put the text in quotes")
    try:
        node = tree.node(documents[0], "file", 0)
    except _TooLarge:
        return Scalar(None, "", top), tree.problems
    if len(documents) > 1:
        tree.problem(documents[1], "file", "a second document begins here: write one policy to a file")
    return node, tree.problems


def _is_deep(text: str) -> bool:
    """True for a text that nests deeper than the C stack may be used. Raises `yaml.YAMLError`."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CBaseLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_PARSED_DEPTH:
                return True
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return False


def _tokens(text: str) -> Iterator[yaml.Token]:
    # Nodes do not tell `!!str 5` from `5`, tokens do; only a text with a "!" can hold a tag.
    return yaml.scan(text, Loader=yaml.CBaseLoader) if "!" in text else iter(())


class _TooLarge(Exception):
    """The document is too deep or too long with its aliases written out; the problem is noted already."""


class _Tree:
    """Turns PyYAML's nodes into ours and notes what is wrong with them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.count = 0

    def place(self, node: yaml.Node | yaml.Token) -> Place:
        return Place(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def problem(self, node: yaml.Node | yaml.Token, where: str, text: str) -> None:
        self.problems.append(Problem(self.place(node), where, text))

    def node(self, node: yaml.Node, where: str, depth: int) -> Node:
        self.count += 1
        place = self.place(node)
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            limit = f"{MAX_DEPTH} levels" if depth > MAX_DEPTH else f"{MAX_NODES} values"
            self.problem(node, where.partition("[")[0], f"larger than {limit}, aliases counted: write less")
            raise _TooLarge
        match node:
            case yaml.MappingNode():
                return self.mapping(node, where, depth)
            case yaml.SequenceNode():
                items = [self.node(item, f"{where}[{at}]", depth + 1) for at, item in enumerate(node.value, 1)]
                return Sequence(tuple(items), place)
            case yaml.ScalarNode():
                return self.scalar(node, where)
            case _:
                raise TypeError(node)

    def mapping(self, node: yaml.MappingNode, where: str, depth: int) -> Mapping:
        members: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, where)
            if key is None:
                continue
            if key in keys:
                self.problem(key_node, where, f'the key "{key}" stands here and in line {keys[key].line}: keep one')
                continue
            keys[key] = self.place(key_node)
            members[key] = self.node(value_node, key if where == "file" else f"{where}.{key}", depth + 1)
        return Mapping(members, keys, self.place(node))

    def key(self, node: yaml.Node, where: str) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self.problem(node, where, "a key must be a text")
            return None
        value = self.scalar(node, where).value
        if isinstance(value, str) and not (value == "<<" and not node.style):
            return value
        if value == "<<":
            self.problem(node, where, "merge keys (<<) are not supported: write the keys out")
        else:
            self.problem(node, where, f'a key must be a text: write "{node.value}" in quotes')
        return None

    def scalar(self, node: yaml.ScalarNode, where: str) -> Scalar:
        text: str = node.value
        value: Plain = text
        if not node.style:
            try:
                value = _plain(text)
            except ValueError as error:
                self.problem(node, where, str(error))
        return Scalar(value, text, self.place(node))


_WORDS: dict[str, Plain] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BASES = re.compile(r"[-+]?(0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def _plain(text: str) -> Plain:
    """The value of an unquoted scalar. Raises ValueError for numbers that no message can carry."""
    if text in _WORDS:
        return _WORDS[text]
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is no number that a call can carry: write a finite one")
    if not (text[0] in "+-." or text[0].isdigit()):
        return text
    digits = text.replace("_", "")
    if _BASES.fullmatch(digits):
        return Decimal(int(digits, 0)) if len(digits) <= MAX_NUMBER_LENGTH else _too_long()
    if _DECIMAL.fullmatch(digits):
        return _decimal(digits)
    return text


def _decimal(digits: str) -> Decimal:
    exponent = digits.lower().partition("e")[2]
    if len(digits) > MAX_NUMBER_LENGTH or (exponent and abs(int(exponent)) > MAX_EXPONENT):
        _too_long()
    return Decimal(digits)


def _too_long() -> Decimal:
    raise ValueError(f"a number may have up to {MAX_NUMBER_LENGTH} digits and an exponent within ±{MAX_EXPONENT}")
