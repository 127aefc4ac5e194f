"""Reads the values of a policy file from its YAML nodes, and notes every problem on the way."""

from __future__ import annotations

import hashlib

from sidecar.mcp.protocol import OF_CLIENTS, is_odd_method
from sidecar.policy import nodes, suggest
from sidecar.policy.model import (
    ALWAYS_OPEN,
    ANY_TOOL,
    CLASSES,
    DEFAULTS,
    LISTED,
    MODES,
    SEVERITIES,
    ClassRules,
    Default,
    Hidden,
    Methods,
    PolicyEntry,
    PolicyFile,
    Rule,
    Source,
)
from sidecar.policy.nodes import Node, Scalar
from sidecar.policy.problem import Place, Problem
from sidecar.policy.read_items import is_null, near
from sidecar.policy.read_rules import RuleReader
from sidecar.text import quoted

_FILE_KEYS = ("version", "description", "default", "methods", "mode", "hide", "list", "approvals", "classes", "tools")
_METHODS_KEYS = ("unknown", "allow", "deny")
_ENTRY_KEYS = ("class", "severity", "rules")
_CLASS_KEYS = ("rules",)


def read(text: str, file: str) -> tuple[PolicyFile, list[Problem]]:
    """The values of the policy in `text`, and every problem with it; `file` is the name to show."""
    root, problems = nodes.parse(text, file)
    reader = _FileReader(problems)
    return reader.file(root, Source(file, hashlib.sha256(text.encode()).hexdigest())), problems


class _FileReader(RuleReader):
    """One method for each item of a file. It notes its problems and returns what could be read."""

    def file(self, root: Node, source: Source) -> PolicyFile:
        top = self.mapping(root, "file", _FILE_KEYS)
        members = top.members
        version = members.get("version")
        if version is not None and not (isinstance(version, Scalar) and version.text in ("1", "", "~", "null")):
            self.problem(version.place, "version", 'only version "1" exists')
        tools = self.mapping(members.get("tools"), "tools")
        default = self.choice(members.get("default"), "default", DEFAULTS, suggest.DEFAULTS)
        return PolicyFile(
            source=source,
            keys=top.keys,
            description=self.text(members.get("description"), "description"),
            default=default,
            methods=self.methods(members.get("methods"), default or "allow"),
            mode=self.choice(members.get("mode"), "mode", MODES, suggest.MODES),
            hide=self.hide(members.get("hide")),
            listed=self.choice(members.get("list"), "list", LISTED),
            approvals=self.approvals(members["approvals"], top.keys["approvals"]) if "approvals" in members else None,
            classes=self.classes(members.get("classes")),
            entries=tuple(self.entry(tool, node, tools.keys[tool]) for tool, node in tools.members.items()),
        )

    def methods(self, node: Node | None, unsaid: Default) -> Methods:
        members = self.mapping(node, "methods", _METHODS_KEYS).members
        unknown = self.choice(members.get("unknown"), "methods.unknown", DEFAULTS, suggest.DEFAULTS)
        allow = self.method_names(members.get("allow"), "methods.allow")
        deny = self.method_names(members.get("deny"), "methods.deny")
        for name, place in deny.items():
            if name in ALWAYS_OPEN:
                text = "tools have rules of their own, and without the others there is no session"
                self.problem(place, "methods.deny", f'"{name}" cannot be denied: {text}; remove it')
            elif name in allow:
                self.problem(place, "methods.deny", f'"{name}" stands under allow too: keep it in one of the two')
            elif name not in OF_CLIENTS and (meant := near(name, OF_CLIENTS)):
                self.problems.append(
                    Problem(place, "methods.deny", f'"{name}" is no method of MCP{meant}', warning=True)
                )
        return Methods(unknown or unsaid, frozenset(allow), frozenset(deny))

    def method_names(self, node: Node | None, where: str) -> dict[str, Place]:
        names: dict[str, Place] = {}
        for at, item in enumerate(self.sequence(node, where), 1):
            name = self.text(item, f"{where}[{at}]")
            if is_null(item) or name == "":
                self.problem(item.place, f"{where}[{at}]", "a method must not be empty: write its name")
            elif name is None:
                continue
            elif "*" in name or "?" in name:
                advice = "methods are named exactly: write each, or unknown: deny for all that MCP does not know"
                self.problem(item.place, f"{where}[{at}]", advice)
            elif is_odd_method(name):
                meant = near(name.strip("/ ").lower(), OF_CLIENTS)
                self.problem(item.place, f"{where}[{at}]", f"no method is called {quoted(name)}{meant}")
            elif name in names:
                text = f'"{name}" stands in line {names[name].line} already: remove one of the two'
                self.problem(item.place, f"{where}[{at}]", text)
            else:
                names[name] = item.place
        return names

    def hide(self, node: Node | None) -> tuple[Hidden, ...]:
        hidden: dict[str, Hidden] = {}
        for at, item in enumerate(self.sequence(node, "hide"), 1):
            where = f"hide[{at}]"
            name = self.text(item, where)
            if is_null(item) or (name is not None and not name.strip()):
                self.problem(item.place, where, "an entry of hide must not be empty: write the name of a tool")
            elif name in hidden:
                line = hidden[name].place.line
                self.problem(item.place, where, f'"{name}" is hidden by line {line} already: remove one of the two')
            elif name is not None:
                hidden[name] = Hidden(name, item.place)
        return tuple(hidden.values())

    def classes(self, node: Node | None) -> tuple[ClassRules, ...]:
        classes = self.mapping(node, "classes", CLASSES)
        return tuple(
            ClassRules(risk, self.rules(risk, classes.members[risk], f"classes.{risk}"), classes.keys[risk])
            for risk in CLASSES
            if risk in classes.keys
        )  # fmt: skip

    def entry(self, tool: str, node: Node, place: Place) -> PolicyEntry:
        where = f"tools.{tool}"
        if not tool:
            self.problem(place, "tools", "a tool's name must not be empty")
        members = self.mapping(node, where, _ENTRY_KEYS).members
        risk = self.choice(members.get("class"), f"{where}.class", CLASSES)
        if tool == ANY_TOOL and "class" in members:
            text = '"*" is about every tool, and a class about some: give a class to names or patterns'
            self.problem(members["class"].place, f"{where}.class", text)
        return PolicyEntry(
            tool,
            self.rules(tool, node, where) if "rules" in members else (),
            place,
            risk=risk,
            severity=self.choice(members.get("severity"), f"{where}.severity", SEVERITIES),
            by_class=risk is not None and "rules" not in members,
        )

    def rules(self, entry: str, node: Node, where: str) -> tuple[Rule, ...]:
        """The rules in the mapping of an entry, or of a class."""
        rules = self.sequence(self.mapping(node, where).members.get("rules"), f"{where}.rules")
        return tuple(self.rule(entry, at, item, f"{where}.rules[{at}]") for at, item in enumerate(rules, 1))
