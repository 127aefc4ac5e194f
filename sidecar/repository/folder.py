"""A policy repository on the disk: which of its files are what. It reads no policy, and knows no git.

```
policies/*.yaml       the policy, merged
rego/custom/**        hand-written Rego, its data (data.json) and its tests (*_test.rego)
tests/**/*.yaml       calls and what is expected of each
tools.json            what `tools/list` of the server answers, where it is kept
```

Whoever wrote the files may want to see others of this machine, or to keep us reading: only regular files of the
repository are read, each up to a bound.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Final

from sidecar.errors import PolicyError
from sidecar.policy.custom import CUSTOM, Custom
from sidecar.system import files
from sidecar.text import of_system

POLICIES: Final = "policies"
REGO: Final = "rego/custom"
TESTS: Final = "tests"
TOOLS: Final = "tools.json"
MAX_SIZE: Final = 16 << 20
"""Bytes of a file."""
_GIT: Final = ".git"
_YAML: Final = (".yaml", ".yml")
_REGO_TEST: Final = "_test.rego"


@dataclass(frozen=True, slots=True)
class Repository:
    """The files of a repository, each kind in the order of their names. `tools` are None where no list is kept."""

    folder: Path
    policies: tuple[Path, ...]
    custom: Custom
    tests: tuple[Path, ...]
    tools: tuple[str, ...] | None


def is_repository(path: Path) -> bool:
    """True for a folder that has policies where a repository has them."""
    return (path / POLICIES).is_dir()


def travels(name: str) -> bool:
    """True for the path of a file, in its repository, that goes into the bundle."""
    path = PurePosixPath(name)
    if path.is_relative_to(POLICIES):
        return path.suffix in _YAML
    return path.is_relative_to(REGO) and _counts(path)


def repository(folder: Path) -> Repository:
    """The repository in a folder. Raises `PolicyError` where it has no policy or a file cannot be read."""
    policies = _named(folder, POLICIES)
    if apart := [path for path in policies if path.parent != folder / POLICIES]:
        raise PolicyError(
            [f"{path}: a policy in a folder of its own: move it to {folder / POLICIES}" for path in apart]
        )
    if not policies:
        raise PolicyError([f"{folder / POLICIES}: no policy is there: write one, as {POLICIES}/policy.yaml"])
    custom = Custom(_rego(folder, [path for path in standing(folder, REGO) if _counts(path)]))
    return Repository(folder, policies, custom, _named(folder, TESTS), _tools(folder))


def rego_tests(folder: Path) -> dict[str, str]:
    """The tests of the hand-written Rego in a repository's folder, by the paths that they would have in a bundle.

    Raises `PolicyError`.
    """
    return _rego(folder, [path for path in standing(folder, REGO) if path.name.endswith(_REGO_TEST)])


def _named(folder: Path, below: str) -> tuple[Path, ...]:
    # Whatever stands in folders below, too: what looks like a part of the policy must not be passed over.
    paths = tuple(path for path in standing(folder, below) if path.suffix in _YAML)
    for path in paths:
        refuse_foreign(folder, path)
    return paths


def standing(folder: Path, below: str) -> list[Path]:
    """What stands in a folder of the repository and below, sorted.

    Raises `PolicyError` where that is elsewhere, or holds a link to a folder: what stands there would be passed over.
    """
    refuse_foreign(folder, folder / below)
    found = sorted((folder / below).rglob("*"))
    if links := [path for path in found if path.is_symlink() and path.is_dir()]:
        words = "leads to a folder, and nothing is looked for there: put the folder itself here"
        raise PolicyError([f"{of_system(str(path))}: {words}" for path in links])
    return found


def _rego(folder: Path, paths: list[Path]) -> dict[str, str]:
    return {
        f"{CUSTOM}/{path.relative_to(folder / REGO).as_posix()}": _text(folder, path)
        for path in paths
        if path.is_symlink() or not path.is_dir()
    }


def _counts(path: PurePath) -> bool:
    return (path.suffix == ".rego" and not path.name.endswith(_REGO_TEST)) or path.name == "data.json"


def _tools(folder: Path) -> tuple[str, ...] | None:
    """The names in `{"tools": [{"name": …}, …]}`, in which a bare name may stand for an object."""
    path = folder / TOOLS
    if not (path.is_symlink() or path.exists()):
        return None
    try:
        tools = json.loads(_text(folder, path))["tools"]
        return tuple(str(tool if isinstance(tool, str) else tool["name"]) for tool in tools)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise PolicyError([f'{path}: no list of tools: write what tools/list answers, {{"tools": […]}}']) from None


def _text(folder: Path, path: Path) -> str:
    """The very text of a file: with its own line ends, as git has them."""
    refuse_foreign(folder, path)
    try:
        return files.read(path, MAX_SIZE).data.decode("utf-8")
    except files.Unreadable as error:
        raise PolicyError([f"{of_system(str(path))}: cannot be read: {error}"]) from None
    except UnicodeDecodeError:
        raise PolicyError([f"{of_system(str(path))}: not UTF-8: save it as UTF-8"]) from None


def refuse_foreign(folder: Path, path: Path) -> None:
    """Raise `PolicyError` where links lead to what is no file of the repository; git's own may hold passwords."""
    top, leads_to = (Path(os.path.realpath(one)) for one in (folder, path))
    if not leads_to.is_relative_to(top) or _GIT in leads_to.relative_to(top).parts:
        target = of_system(str(leads_to))
        raise PolicyError([
            f"{of_system(str(path))}: leads to {target}, which is no file of the repository: put the file itself there"
        ])  # fmt: skip
