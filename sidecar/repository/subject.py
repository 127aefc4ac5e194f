"""What a command is about: a policy file, a repository or a bundle, as the bundle that a sidecar would decide by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.engine import binary, custom_rego
from sidecar.policy.bundle import Bundle, build
from sidecar.policy.compile import compile_policy
from sidecar.policy.custom import NO_CUSTOM, Custom
from sidecar.policy.model import Policy
from sidecar.repository.folder import Repository, is_repository, repository
from sidecar.repository.load import find, load


@dataclass(frozen=True, slots=True)
class Subject:
    """One policy. `policy` is None for a bundle that does not carry its sources; `repository` where it is none."""

    path: Path
    bundle: Bundle
    policy: Policy | None
    custom: Custom
    repository: Repository | None
    warnings: tuple[str, ...]


def subject(path: Path, opa: Path, *, serial: int = 1, commit: str = "") -> Subject:
    """The policy at `path`, compiled and tried on the engine's own programs.

    Raises `PolicyError` with every problem, `StartError` where the engine does not accept what was compiled.
    """
    found = repository(path) if is_repository(path) else None
    return _subject(path, found.policies if found is not None else (path,), found, opa, serial, commit)


def merged(paths: Sequence[Path], opa: Path) -> Subject:
    """The policy that several files make together. Raises as `subject` does."""
    return _subject(paths[0], paths, None, opa, 1, "")


def _subject(
    path: Path, files: Sequence[Path], found: Repository | None, opa: Path, serial: int, commit: str
) -> Subject:  # fmt: skip
    custom = found.custom if found is not None else NO_CUSTOM
    policy, warnings = load(find(files), lambda: opa)
    checked = custom_rego.check(opa, custom.files) if custom.files else None
    bundle = build(compile_policy(policy, checked), serial, commit)
    binary.check(opa, bundle.files)
    return Subject(path, bundle, policy, custom, found, tuple(map(str, warnings)))
