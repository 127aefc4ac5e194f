"""What a command is about: a policy file, a repository or a bundle, as the bundle that a sidecar would decide by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.engine import binary, custom_rego
from sidecar.errors import BundleRefused, PolicyError, StartError
from sidecar.policy.archive import CURRENT, MAX_UNPACKED
from sidecar.policy.bundle import FACTS, POLICY, Bundle, build
from sidecar.policy.compile import compile_policy
from sidecar.policy.custom import NO_CUSTOM, Custom
from sidecar.policy.model import Policy
from sidecar.repository.folder import POLICIES, Repository, is_repository, repository
from sidecar.repository.load import find, load, why_not
from sidecar.repository.sources import read_sources
from sidecar.repository.unpack import Unpacked, unpack
from sidecar.system import files
from sidecar.system.files import Found
from sidecar.text import of_system

_BUNDLE: Final = "a bundle that `sidecar policy build` or `sidecar policy publish` wrote"
_INSTEAD: Final = f"name a policy file, a repository (a folder with {POLICIES}), or {_BUNDLE}"
_INSTEAD_OF_COMPILED: Final = (
    "it has what a policy was compiled to and not the policy: name the policy file or the repository that it was "
    f"compiled from, or {_BUNDLE}"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """One policy. `policy` is None for a bundle that does not carry its sources; `repository` where it is none.

    `found` are the policy files as they were read.
    """

    path: Path
    bundle: Bundle
    policy: Policy | None
    custom: Custom
    repository: Repository | None
    warnings: tuple[str, ...]
    found: tuple[Found, ...] = ()


def subject(path: Path, opa: Path, *, serial: int = 1) -> Subject:
    """The policy at `path`, compiled and tried on the engine's own programs.

    Raises `PolicyError` with every problem, `StartError` where the engine does not accept what was compiled, and
    `BundleRefused` for a bundle that no sidecar would admit; who signed it is not asked.
    """
    if is_repository(path):
        found = repository(path)
        return _subject(path, found.policies, found, opa, serial)
    if is_bundle(path):
        return of_bundle(_in_force(path), opa)
    (file,) = find([path])
    if file.content is None:
        instead = _INSTEAD_OF_COMPILED if (path / FACTS).is_file() else _INSTEAD
        raise PolicyError([f"cannot read the policy {path}: {why_not(file)}; {instead}"])
    return _subject(path, (path,), None, opa, serial)


def merged(paths: Sequence[Path], opa: Path) -> Subject:
    """The policy that several files make together. Raises as `subject` does."""
    return _subject(paths[0], paths, None, opa, 1)


def is_bundle(path: Path) -> bool:
    """True for a file that begins as a bundle does, and for a folder that `sidecar policy publish` wrote to."""
    if is_repository(path):
        return False  # it may have a bundle of its own policy beside it
    file = _in_force(path)
    try:
        if not file.is_file():
            return False
        if file != path:
            return True
        with file.open("rb") as opened:
            return opened.read(2) == b"\x1f\x8b"
    except OSError:
        return False


def _in_force(path: Path) -> Path:
    """The file of a bundle: in a folder the one that sidecars fetch from there."""
    return path / CURRENT if path.is_dir() else path


def of_bundle(path: Path, opa: Path) -> Subject:
    """The policy in a bundle. Raises as `subject` does."""
    try:
        data = files.read(path, MAX_UNPACKED).data
    except files.Unreadable as error:
        raise StartError(f"cannot read the bundle {of_system(str(path))}: {error}") from None
    try:
        unpacked = unpack(data, opa, (), 0)
    except BundleRefused as error:
        raise BundleRefused(error.kind, f"{of_system(str(path))}: {error}; see `sidecar policy build`") from None
    custom = NO_CUSTOM if unpacked.custom is None else Custom(unpacked.custom.files)
    policy, found = _policy_of(unpacked, opa)
    why = f"{of_system(str(path))}: its policy files do not make its rules here: what needs them is left out"
    return Subject(path, unpacked.bundle, policy, custom, None, () if policy is not None else (why,), found)


def _policy_of(unpacked: Unpacked, opa: Path) -> tuple[Policy | None, tuple[Found, ...]]:
    """The policy that a bundle was built from, and its files; None unless they make the very rules of the bundle."""
    try:
        found = read_sources(unpacked.sources)
        policy, _ = load(found, lambda: opa)
        made = compile_policy(policy, unpacked.custom)
    except (PolicyError, BundleRefused):
        return None, ()
    same = all(unpacked.bundle.files.get(path) == text for path, text in made.items())
    known = {path for path in unpacked.bundle.files if path.startswith(POLICY)}
    return (policy, found) if same and known <= made.keys() else (None, ())


def _subject(path: Path, paths: Sequence[Path], found: Repository | None, opa: Path, serial: int) -> Subject:
    custom = found.custom if found is not None else NO_CUSTOM
    texts = find(paths)
    policy, warnings = load(texts, lambda: opa, alone=not custom.files)
    checked = custom_rego.check(opa, custom.files) if custom.files else None
    bundle = build(compile_policy(policy, checked), serial)
    binary.check(opa, bundle.files)
    return Subject(path, bundle, policy, custom, found, tuple(map(str, warnings)), texts)
