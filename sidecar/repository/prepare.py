"""Policy files, and the hand-written Rego beside them, to a bundle that the engine accepts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sidecar.engine import binary, custom_rego
from sidecar.policy.bundle import Bundle, build
from sidecar.policy.compile import compile_policy
from sidecar.policy.custom import NO_CUSTOM, Custom
from sidecar.repository import load
from sidecar.system import ownership
from sidecar.system.files import Found


def prepare(
    found: Sequence[Found], opa: Path, serial: int, custom: Custom = NO_CUSTOM
) -> tuple[Bundle, list[str]]:  # fmt: skip
    """The bundle of the files, tried on the engine's own programs, and warnings, also of who else may write the files.

    Raises `PolicyError` with every problem, `StartError` when the engine does not accept what was compiled.
    """
    policy, warnings = load.load(found, lambda: opa, alone=not custom.files)
    checked = custom_rego.check(opa, custom.files) if custom.files else None
    bundle = build(compile_policy(policy, checked), serial)
    binary.check(opa, bundle.files)
    # A warning, and no error: a folder of policies may be shared on purpose.
    shared = [text for file in found if (text := ownership.trouble(file.path, str(file.path))) is not None]
    return bundle, [*map(str, warnings), *shared]
