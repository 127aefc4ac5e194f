"""Class and severity of tools, as the facts in a bundle give them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from sidecar.policy.names import matcher


@dataclass(frozen=True, slots=True)
class Risk:
    """The class of a tool and its severity, as far as a policy gives them."""

    risk_class: str | None = None
    severity: str | None = None

    @property
    def document(self) -> dict[str, str]:
        """What is known, as JSON."""
        given = {"class": self.risk_class, "severity": self.severity}
        return {name: value for name, value in given.items() if value}


UNKNOWN: Final = Risk()


@dataclass(frozen=True, slots=True)
class Risks:
    """What the entries give to their tools: each exact one, each pattern that gives something, and `*`."""

    tools: dict[str, Risk]
    patterns: tuple[tuple[re.Pattern[str], Risk], ...]
    any_tool: Risk

    def of(self, tool: str) -> Risk:
        """The class and the severity of a tool, each by the first entry about it that gives one."""
        if not self.tools and not self.patterns:
            return self.any_tool
        own = self.tools.get(tool, UNKNOWN)
        given = [own, *(risk for pattern, risk in self.patterns if pattern.match(tool)), self.any_tool]
        return Risk(
            next((risk.risk_class for risk in given if risk.risk_class), None),
            next((risk.severity for risk in given if risk.severity), None),
        )


def read_risks(facts: dict[str, Any]) -> Risks:
    """The classes and severities in what `policy/facts` wrote into the bundle."""
    given = facts["risks"]
    patterns = zip(facts["patterns"], given["patterns"], strict=True)
    return Risks(
        {tool: read_risk(risk) for tool, risk in given["tools"].items()},
        tuple((matcher(item["name"]), read_risk(risk)) for item, risk in patterns if risk),
        read_risk(*given["any_tool"]) if given["any_tool"] else UNKNOWN,
    )


def read_risk(given: dict[str, str]) -> Risk:
    """What one entry gives to its tools."""
    return Risk(given.get("class"), given.get("severity"))
