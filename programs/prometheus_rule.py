"""Writes the alerts and recording rules as a resource of the Prometheus Operator: `make rules`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support import ROOT

RULES: Final = ROOT / "deploy" / "prometheus" / "rules.yaml"
RESOURCE: Final = ROOT / "deploy" / "components" / "monitoring" / "prometheusrule.yaml"
_HEAD: Final = """\
# Generated from deploy/prometheus/rules.yaml by `make rules`, do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: mcp-policy
spec:
"""


def resource(rules: Path = RULES) -> str:
    """The rules file as a PrometheusRule: the text itself, so that its comments and its order stay."""
    lines = rules.read_text(encoding="utf-8").splitlines()
    return _HEAD + "\n".join(f"  {line}" if line else "" for line in lines if not line.startswith("#")) + "\n"


if __name__ == "__main__":
    RESOURCE.write_text(resource(), encoding="utf-8")
