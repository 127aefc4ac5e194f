"""A policy of 1,000 tools with 10 rules each, and how long it takes to become a bundle."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Final

from sidecar.load import load
from sidecar.policy.bundle import build
from sidecar.policy.compile import compile_policy
from tests.support import OPA

TOOLS: Final = 1000
RULES: Final = 10


def large_policy(small: str) -> str:
    """The policy `small` with so many more tools that nobody calls."""
    lines = [small.rstrip()]
    for tool in range(TOOLS - 1):
        lines += [f"  tool_{tool}:", "    rules:"]
        for rule in range(RULES):
            lines += [
                f"      - name: rule {rule}",
                "        conditions:",
                f"          - {{path: args.a{rule}, op: lte, value: {rule * 10}}}",
                "          - {path: args.currency, op: in, value: [usd, eur]}",
                f'        reason: "no more than {rule * 10}"',
            ]
    return "\n".join(lines) + "\n"


def seconds_to_compile(policy: str, folder: Path) -> float:
    """How long it takes from the text of a policy to its bundle."""
    path = folder / "large.yaml"
    path.write_text(policy)
    begun = perf_counter()
    build(compile_policy(load([path], lambda: OPA)[0]), serial=1)
    return perf_counter() - begun
