"""Which workload we are, by the variables of Kubernetes' downward API; empty outside Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.text import visible

MAX_LENGTH: Final = 253
"""Characters of a name: the longest that Kubernetes allows."""

_VARIABLES: Final = {"pod": "POD_NAME", "namespace": "POD_NAMESPACE", "service_account": "SERVICE_ACCOUNT"}


def workload(environ: Mapping[str, str]) -> dict[str, str]:
    """The names that are set, each of bounded length and without invisible characters."""
    named = {name: environ.get(variable, "") for name, variable in _VARIABLES.items()}
    return {name: visible(value[:MAX_LENGTH])[:MAX_LENGTH] for name, value in named.items() if value}
