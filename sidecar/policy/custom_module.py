"""A module of hand-written Rego as OPA's parser gives it: what it says, what it mentions, and what may not stand in it.

It runs nothing. A module reaches the question and the data of a bundle only through a mention of `input` or `data`, so
whoever knows every mention knows all that it can read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sidecar.policy.custom import CustomRule
from sidecar.policy.problem import Place, Problem

Node: TypeAlias = Any
"""A part of the parser's tree: an object, a list or a value."""
Tree: TypeAlias = Mapping[str, Node]
Names: TypeAlias = tuple[str, ...]

PACKAGE: Final = ("intercept", "custom")
HELPERS: Final = ("intercept", "typed")
"""Our functions for hand-written Rego."""
SPEAKS: Final = {"violations": frozenset({"monitor"}), "approvals": frozenset({"timeout", "approvers"})}
"""The sets by which it speaks, and what an element may say beside `rule` and `reason`."""
NOT_READ: Final = frozenset({"allow", "approval", "deny", "refuse", "violation", "warn"})
"""Names that authors write from habit. Nobody reads such a rule, so a refusal in it would be lost."""
ALWAYS_THERE: Final = frozenset({("input", "tool"), ("input", "server"), ("input", "method"), ("input", "version")})

_LOOK: Final = '{"rule": "a name", "reason": "a message"}'
_COMPREHENSIONS: Final = frozenset({"arraycomprehension", "objectcomprehension", "setcomprehension"})


@dataclass(frozen=True, slots=True)
class Mention:
    """A way into `input` or `data` that stands in a module: its steps as far as they are written out, root in front."""

    steps: Names
    place: Place


@dataclass(slots=True)
class Module:
    """What a module says. `reads_clock` where it asks for the time of the machine."""

    rules: list[CustomRule] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    reads_clock: bool = False
    problems: list[Problem] = field(default_factory=list)


def read_modules(trees: Mapping[str, Tree]) -> list[Module]:
    """The modules in trees of `opa parse`, with locations, each under the name of its file for people."""
    doubtful: dict[Names, set[str]] = {}
    for tree in trees.values():
        doubtful.setdefault(_package(tree), set()).update(_names_in_doubt(tree))
    return [_Reader(tree, file, doubtful[_package(tree)]).read() for file, tree in trees.items()]


class _Reader:
    """Reads one module. `doubtful` are the rules of its package that may have no value."""

    def __init__(self, tree: Tree, file: str, doubtful: set[str]) -> None:
        self._tree = tree
        self._start = Place(file, 1, 1)
        self._doubtful = doubtful
        self._below = _package(tree)[len(PACKAGE) :]
        self._aliases: dict[str, Names] = {}
        self._module = Module()

    def read(self) -> Module:
        self._check_package(_package(self._tree), self._at(self._tree["package"]))
        if self._module.problems:
            return self._module
        for annotation in self._tree.get("annotations") or ():
            if "schemas" in annotation:  # OPA fetches it while it compiles
                self._wrong(self._at(annotation), "schemas", "a schema can be fetched from anywhere: remove it")
        for imported in self._tree.get("imports") or ():
            self._import(imported)
        for rule in self._tree.get("rules") or ():
            self._rule(rule)
        return self._module

    def _check_package(self, package: Names, place: Place) -> None:
        if package[:2] != PACKAGE:
            self._wrong(
                place, f"package {'.'.join(package)}",
                "hand-written Rego has no place in it: write package intercept.custom, or one below it for helpers",
            )  # fmt: skip
        elif self._below and self._below[0] in SPEAKS:
            self._wrong(place, "package", f"{self._below[0]} is what rules add to: choose another name")

    def _import(self, imported: Tree) -> None:
        path: Names = tuple(str(step["value"]) for step in imported["path"]["value"])
        match path:
            case ("rego", "v1") | ("future", "keywords", *_):
                return
            case ("input" | "data", *_):
                self._aliases[imported.get("alias") or path[-1]] = path
                if path[0] == "data":
                    self._mention(path, self._at(imported))
            case _:
                self._wrong(self._at(imported), f"import {'.'.join(path)}", "nothing here needs it: remove it")

    # Rules.

    def _rule(self, rule: Tree) -> None:
        head = rule["head"]
        name, place = str(head["ref"][0]["value"]), self._at(head["ref"][0])
        if name in SPEAKS and not self._below:
            self._speech(rule, head, name, place)
        elif name in SPEAKS:
            self._wrong(place, name, "nobody reads it in this package: write it in package intercept.custom")
        elif (name in NOT_READ and not self._below) or _looks_like_speech(head):
            advice = f"to refuse write violations contains {_LOOK}, to ask a person approvals contains the same"
            self._wrong(place, name, f"nobody reads it, so it does nothing: {advice}; else choose another name")
        self._look_through([value for key, value in rule.items() if key not in ("head", "annotations")], place)
        parts = [head.get(key) for key in ("args", "key", "value")]
        self._look_through([*parts, head["ref"][1:]], place)

    def _speech(self, rule: Tree, head: Tree, name: str, place: Place) -> None:
        plain = len(head["ref"]) == 1 and "key" in head and not {"value", "args", "assign"} & head.keys()
        if not plain or rule.get("default") or "else" in rule:
            self._wrong(place, name, f"it is a set that rules add to, and nothing else: write {name} contains {_LOOK}")
            return
        said = _members(head["key"])
        rule_name, reason = (said.get(key, {}) for key in ("rule", "reason"))
        if not (_is_text(rule_name) and _is_text(reason)):
            # A name or a message that a call makes would carry the call's own values into metrics and logs.
            self._wrong(
                place, name,
                f'"rule" and "reason" are needed, each as a text that stands there: write {name} contains {_LOOK}',
            )  # fmt: skip
            return
        for key, value in said.items():
            if problem := _wrong_member(name, key, value):
                self._wrong(place, f"{name}.{key}", problem)
        asks = name == "approvals"
        self._module.rules.append(
            CustomRule(place.file, place.line, str(rule_name["value"]), asks, asks and "approvers" in said)
        )

    # What is mentioned.

    def _look_through(self, part: Node, place: Place) -> None:
        for node, where in self._nodes(part, place):
            if "with" in node:
                self._wrong(
                    where, "with", "it is this question that is decided: write a function, and give it the value"
                )
            if node.get("negated") and (missing := self._may_be_missing(node["terms"])):
                self._wrong(
                    where, "not", f"where {missing} is missing, neither this nor its opposite holds, and nothing is "
                    "refused: give what you negate a name (`good if …`), and write `not good`",
                )  # fmt: skip
            match node.get("type"):
                case "ref":
                    self._reference(node["value"], where)
                case "var":
                    self._reference([node], where)

    def _reference(self, steps: list[Tree], place: Place) -> None:
        names = self._names(steps)
        if names[:2] == ("time", "now_ns"):
            self._module.reads_clock = True
        if names[:1] in (("input",), ("data",)):
            self._mention(names, place)

    def _mention(self, names: Names, place: Place) -> None:
        if names[0] == "data" and names[1:3] not in (PACKAGE, HELPERS):
            self._wrong(
                place, ".".join(names),
                "of the bundle it can read data.intercept.custom and data.intercept.typed: keep your own data in "
                "rego/custom/data.json",
            )  # fmt: skip
        self._module.mentions.append(Mention(names, place))

    def _names(self, steps: list[Tree]) -> Names:
        """The steps of a reference up to the first that is not written out, with what is imported put in full."""
        if not steps or steps[0].get("type") != "var":
            return ()
        first = str(steps[0]["value"])
        names: list[str] = list(self._aliases.get(first, (first,)))
        for step in steps[1:]:
            if step["type"] != "string":
                break
            names.append(str(step["value"]))
        return tuple(names)

    def _may_be_missing(self, terms: Node) -> str | None:
        """What a negated call is about, if that may be missing.

        OPA looks at what a function is called with before the `not`; only equality is negated as a whole.
        """
        if not isinstance(terms, list):
            return None
        waiting = terms[1:]
        if self._names(terms[0].get("value", [])) in (("eq",), ("equal",)):
            waiting = [term for term in waiting if term.get("type") == "call"]
        while waiting:
            term = waiting.pop()
            kind, value = term.get("type"), term.get("value")
            if kind in ("ref", "var"):
                names = self._names(value if kind == "ref" else [term])
                if (len(names) > 1 and names[:2] not in ALWAYS_THERE) or names[:1] == () or names[0] in self._doubtful:
                    return ".".join(names) or "a part of it"
            elif kind == "call":
                waiting += value[1:]
            elif kind not in _COMPREHENSIONS:  # which have a value in any case
                waiting += _inner(value)
        return None

    def _nodes(self, part: Node, place: Place) -> Iterator[tuple[Tree, Place]]:
        """Every object of the tree in `part`, and where it stands; of a reference only what is worked out in it."""
        waiting: list[tuple[Node, Place]] = [(part, place)]
        while waiting:
            node, where = waiting.pop()
            if isinstance(node, list):
                waiting += ((one, where) for one in node)
            elif isinstance(node, dict):
                where = self._at(node, where)
                yield node, where
                inside = [value for key, value in node.items() if key != "location"]
                if node.get("type") == "ref":
                    inside = [step for at, step in enumerate(node["value"]) if at or step["type"] != "var"]
                waiting += ((one, where) for one in inside)

    def _at(self, node: Tree, otherwise: Place | None = None) -> Place:
        found = node.get("location")
        return Place(self._start.file, int(found["row"]), int(found["col"])) if found else otherwise or self._start

    def _wrong(self, place: Place, where: str, text: str) -> None:
        self._module.problems.append(Problem(place, where, text))


def _package(tree: Tree) -> Names:
    return tuple(str(step["value"]) for step in tree["package"]["path"][1:])


def _names_in_doubt(tree: Tree) -> set[str]:
    """The rules of a module that may have no value: neither sets nor functions, not constant, and without a default."""
    rules = [(rule["head"], rule) for rule in tree.get("rules") or () if len(rule["head"]["ref"]) == 1]
    sure = {head["ref"][0]["value"] for head, rule in rules if rule.get("default") or _is_constant(head, rule)}
    return {head["ref"][0]["value"] for head, _ in rules if not {"key", "args"} & head.keys()} - sure


def _is_constant(head: Tree, rule: Tree) -> bool:
    if not all(part.get("generated") for part in rule["body"]):
        return False
    waiting = [head.get("value", {})]
    while waiting:
        term = waiting.pop()
        if term.get("type") in ("ref", "var", "call", "templatestring"):
            return False
        waiting += _inner(term.get("value"))
    return True


def _inner(value: Node) -> Iterable[Tree]:
    """The terms inside an array, a set or an object, whose members are pairs."""
    if not isinstance(value, list):
        return []
    return [term for one in value for term in (one if isinstance(one, list) else [one]) if isinstance(term, dict)]


def _members(term: Tree) -> dict[str, Tree]:
    """The members of an object that is written out; empty where it is none, or a key is no text."""
    if term.get("type") != "object" or any(key["type"] != "string" for key, _ in term["value"]):
        return {}
    return {str(key["value"]): value for key, value in term["value"]}


def _is_text(term: Tree) -> bool:
    return term.get("type") == "string" and bool(str(term["value"]).strip())


def _looks_like_speech(head: Tree) -> bool:
    """True for a set to which an element is added that would refuse, or ask, in one of the sets that are read."""
    return "value" not in head and {"rule", "reason"} <= _members(head.get("key") or {}).keys()


def _wrong_member(name: str, key: str, value: Tree) -> str | None:
    """What is wrong with a member of an element of `violations` or `approvals`."""
    kind, said = value.get("type"), value.get("value")
    match key:
        case "rule" | "reason":
            return None
        case "monitor" if name == "violations":
            return None if kind == "boolean" else "write true or false"
        case "timeout" | "approvers" if name == "approvals":
            literal = kind in ("boolean", "null", "string", "array", "object", "set")
            low = kind == "number" and (not isinstance(said, int) or said < 1)
            unit = "seconds, " if key == "timeout" else ""
            return f"write a number: {unit}a whole one, 1 or more" if literal or low else None
        case _:
            known = ", ".join(["rule", "reason", *sorted(SPEAKS[name])])
            return f"there is no such member: write one of {known}"
