"""Policies of many tools with 10 rules each, and how long it takes until one is a bundle."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Final

from sidecar.policy.bundle import build
from sidecar.policy.compile import compile_policy
from sidecar.repository.load import find, load
from tests.support import OPA

RULES: Final = 10


def many_tools(tools: int) -> str:
    """A policy of so many tools; the one that is called, `echo`, is one of them."""
    lines = ['version: "1"', "tools:", "  echo:", "    rules:"]
    for rule in range(RULES):
        lines += [
            f"      - name: rule {rule}",
            "        conditions:",
            f"          - {{path: args.sz, op: lte, value: {1_000_000_000 + rule}}}",
            f"          - {{path: args.path, op: neq, value: {rule}.md}}",
            f'        reason: "no more than {rule}"',
        ]
    for tool in range(tools - 1):
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
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "policy.yaml"
    path.write_text(policy)
    begun = perf_counter()
    build(compile_policy(load(find([path]), lambda: OPA)[0]), serial=1)
    return perf_counter() - begun
