"""Every query that the project ships: of panels, of alerts and recording rules, and those that the docs show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from tests.support import ROOT

RULES: Final = ROOT / "deploy" / "prometheus" / "rules.yaml"
DASHBOARDS: Final = ROOT / "deploy" / "grafana"
DOCUMENTS: Final = ("metrics.md", "observability.md")

HURRY: Final = 30
"""By so much shorter is the `for` of each alert here than it is shipped: what lasts two minutes lasts four seconds."""
WINDOW: Final = "15s"
"""What stands for Grafana's `$__rate_interval` at a scrape every second."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query in PromQL, and where it stands. `whole` is true where it is asked about the whole time at once."""

    where: str
    expr: str
    whole: bool = False


def panels(name: str) -> Iterator[Query]:
    """The queries of a dashboard: its panels, those in closed rows too, its annotations and variables."""
    dashboard = json.loads((DASHBOARDS / f"{name}.json").read_text(encoding="utf-8"))
    for panel in _with_rows(dashboard["panels"]):
        for target in panel.get("targets", []):
            yield Query(
                f"{name}: {panel['title']}: {target['refId']}", filled(target["expr"]), "$__range" in target["expr"]
            )
    for annotation in dashboard.get("annotations", {}).get("list", []):
        expr = annotation.get("target", annotation).get("expr")
        if expr:
            yield Query(f"{name}: annotation {annotation['name']}", filled(expr))
    for variable in dashboard["templating"]["list"]:
        query = variable.get("query")
        text = query.get("query", "") if isinstance(query, dict) else str(query)
        if (values := re.fullmatch(r"label_values\((.*), *(\w+)\)", text)) is not None:
            yield Query(f"{name}: variable {variable['name']}", f"count by ({values[2]}) ({filled(values[1])})")


def dashboards() -> list[str]:
    """The names of all dashboards."""
    return sorted(path.stem for path in DASHBOARDS.glob("*.json"))


def filled(expr: str) -> str:
    """A query as Grafana sends it, where every variable stands for all, and the range is that of the script."""
    for variable, value in (("$__rate_interval", WINDOW), ("$__interval", WINDOW), ("$__range", "150s")):
        expr = expr.replace(variable, value)
    return re.sub(r"\$\{?(namespace|server|tool)(:\w+)?\}?", ".*", expr)


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """The rules of a kind, `alert` or `record`, by name."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule[kind]: rule for group in groups for rule in group["rules"] if kind in rule}


def hurried(text: str) -> str:
    """The file of rules with every `for` shorter by the factor `HURRY`, and nothing else."""
    return re.sub(
        r"^( +for: )(\d+)m$", lambda found: f"{found[1]}{int(found[2]) * 60 // HURRY}s", text, flags=re.MULTILINE
    )


def documented() -> list[Query]:
    """The queries that the docs show: in code blocks, and as code in a line, if they name a metric of ours."""
    found = []
    for name in DOCUMENTS:
        path = ROOT / "docs" / name
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        blocks = [block for language, block in fenced if language in ("", "promql")]
        around = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        # In a table `|` is written `\|`.
        inline = [code.replace(r"\|", "|") for code in re.findall(r"`([^`\n]+)`", around)]
        for expr in (*(each for block in blocks for each in statements(block)), *inline):
            if "mcp_policy_" in expr and is_query(expr):
                found.append(Query(f"docs/{name}: {expr}", filled(expr)))
    return found


def statements(block: str) -> list[str]:
    """The queries of a code block without their comments. A line that begins with an operator goes on with the last."""
    found: list[str] = []
    for line in block.splitlines():
        code = re.sub(r"(^|\s+)# .*$", "", line).strip()
        if found and re.match(r"[-+*/<>=)]|(and|or|unless|on|group_left|group_right|by)\b", code):
            found[-1] += f" {code}"
        elif code:
            found.append(code)
    return found


def is_query(text: str) -> bool:
    """False for a metric with the names of its labels (`x_total{tool,rule}`), the beginning of names, and files."""
    return not re.fullmatch(r"mcp_policy_(\w*_)?|mcp_policy_\w+\{[\w, ]+\}|[\w./-]+\.\w+", text) and "$" not in text


def _with_rows(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        yield from _with_rows(panel.get("panels", []))
