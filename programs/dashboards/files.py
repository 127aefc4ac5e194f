"""The dashboards as files: which there are, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from programs.dashboards.denials import denials
from programs.dashboards.health import health
from programs.dashboards.limits import limits_and_approvals
from programs.dashboards.panels import Json

FOLDER: Final = Path(__file__).resolve().parents[2] / "deploy" / "grafana"
DASHBOARDS: Final[Mapping[str, Callable[[], Json]]] = MappingProxyType({
    "denials": denials, "limits-and-approvals": limits_and_approvals, "health": health,
})  # fmt: skip
"""What makes each dashboard, by the name of its file."""


def text_of(name: str) -> str:
    """What the file of a dashboard holds."""
    return json.dumps(DASHBOARDS[name](), indent=2, ensure_ascii=False) + "\n"
