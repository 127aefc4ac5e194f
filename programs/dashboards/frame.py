"""What all dashboards share: variables, links among them, links to the audit lines, marks of new policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from programs.dashboards.panels import DATASOURCE, Json, placed

SCHEMA_VERSION: Final = 42
"""Of dashboard JSON in `@grafana/schema` 13; older servers from 10 on read what is used here as well."""
TAG: Final = "mcp-policy"

SERVER: Final = 'namespace=~"$namespace", server=~"$server"'
"""Selects the series of the chosen servers."""
TOOL: Final = f'{SERVER}, tool=~"$tool"'
"""Selects those of the chosen tools."""
LIMITS: Final = f'{SERVER}, tool=~"$tool|[*]"'
"""Selects those of the chosen tools, and of the rules for all tools, whose tool is `*`."""

_ANY_METRIC: Final = "mcp_policy_(decisions_total|rule_info)"


def dashboard(uid: str, title: str, description: str, panels: Sequence[Json]) -> Json:
    """A whole dashboard, as Grafana imports it."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [_others()],
        "annotations": {"list": [_new_policies()]},
        "templating": {"list": _variables()},
        "panels": placed(panels),
    }


def audit_lines(title: str, *words: str) -> Json:
    """A link to the audit lines of the time that is shown, in VictoriaLogs; `words` are LogsQL and may hold variables.

    `${__field.labels.x}` is a label of the series that was clicked, `${__data.fields.X}` the value of a table's column.
    """
    query = " ".join(("_time:[${__from:date:iso}, ${__to:date:iso}]", *words))
    url = f"${{logs}}/select/vmui/#/?g0.range_input=30d&query={_escaped(query)}"
    return {"title": title, "targetBlank": True, "url": url}


def _escaped(query: str) -> str:
    """The query as part of a URL, with the variables in it left as they are, to be escaped when they are filled in."""
    parts = query.split("${")
    found = [quote(parts[0], safe="")]
    for part in parts[1:]:
        name, _, rest = part.partition("}")
        own_format = name if name.startswith(("__from", "__to")) else f"{name}:percentencode"
        found.append(f"${{{own_format}}}{quote(rest, safe='')}")
    return "".join(found)


def _others() -> Json:
    return {
        "type": "dashboards",
        "title": "MCP policy",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }


def _new_policies() -> Json:
    """A mark where a policy came into force: the metric's value is that time, so marks stand there and nowhere else."""
    in_force = f"mcp_policy_bundle_info{{{SERVER}}}"
    since = f"mcp_policy_bundle_activated_timestamp_seconds{{{SERVER}}}"
    return {
        "name": "New policies",
        "enable": True,
        "hide": False,
        "iconColor": "purple",
        "datasource": DATASOURCE,
        "target": {
            "refId": "Anno",
            "expr": "1000 * max by (server, revision, serial) "
            f"({since} * on (job, instance, server) group_right () {in_force})",
            "interval": "",
        },
        "titleFormat": "Policy of {{server}}",
        "textFormat": "revision {{revision}}, serial {{serial}}",
        "tagKeys": "",
        "useValueForTime": True,
    }


def _variables() -> list[Json]:
    return [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "hide": 0,
            "refresh": 1,
            "regex": "",
            "multi": False,
            "includeAll": False,
            "current": {"text": "", "value": ""},
        },
        _labels("namespace", "Namespace", "mcp_policy_sessions", "namespace"),
        _labels("server", "Server", 'mcp_policy_sessions{namespace=~"$namespace"}', "server"),
        _labels("tool", "Tool", f'{{__name__=~"{_ANY_METRIC}", {SERVER}}}', "tool"),
        {
            "name": "logs",
            "label": "Audit lines at",
            "description": "The address of the VictoriaLogs that has the audit lines: panels link to it.",
            "type": "textbox",
            "query": "http://localhost:9428",
            "hide": 0,
            "current": {"text": "http://localhost:9428", "value": "http://localhost:9428"},
        },
    ]


def _labels(name: str, label: str, of: str, value: str) -> Json:
    """The values of a label. All of them are `.*`, which holds as well for series that lack it."""
    query = f"label_values({of}, {value})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"variable-{name}", "qryType": 1},
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
