"""A policy repository on the disk: which of its files are what. It reads no policy, and knows no git.

```
policies/*.yaml       the policy, merged
rego/custom/**        hand-written Rego, its data (data.json) and its tests (*_test.rego)
tests/**/*.yaml       calls and what is expected of each
tools.json            what `tools/list` of the server answers, where it is kept
```
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.errors import PolicyError
from sidecar.policy.custom import CUSTOM, Custom

POLICIES: Final = "policies"
REGO: Final = "rego/custom"
TESTS: Final = "tests"
TOOLS: Final = "tools.json"
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


def repository(folder: Path) -> Repository:
    """The repository in a folder. Raises `PolicyError` where it has no policy or a file cannot be read."""
    policies = _named(folder / POLICIES)
    if apart := [path for path in policies if path.parent != folder / POLICIES]:
        raise PolicyError(
            [f"{path}: a policy in a folder of its own: move it to {folder / POLICIES}" for path in apart]
        )
    if not policies:
        raise PolicyError([f"{folder / POLICIES}: no policy is there: write one, as {POLICIES}/policy.yaml"])
    try:
        return Repository(folder, policies, _custom(folder / REGO), _named(folder / TESTS), _tools(folder / TOOLS))
    except OSError as error:
        raise PolicyError([f"{error.filename}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise PolicyError([f"{folder / REGO}: a file there is not UTF-8: save it as UTF-8"]) from None


def _named(folder: Path) -> tuple[Path, ...]:
    # Whatever stands in folders below, too: what looks like a part of the policy must not be passed over.
    return tuple(sorted(path for path in folder.rglob("*") if path.suffix in _YAML))


def _custom(folder: Path) -> Custom:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and _counts(path)]
    return Custom({
        f"{CUSTOM}/{path.relative_to(folder).as_posix()}": path.read_text(encoding="utf-8") for path in files
    })  # fmt: skip


def rego_tests(folder: Path) -> dict[str, str]:
    """The tests of the hand-written Rego in a repository's folder, by the paths that they would have in a bundle.

    Raises `PolicyError`.
    """
    tests = sorted((folder / REGO).rglob(f"*{_REGO_TEST}"))
    try:
        return {
            f"{CUSTOM}/{path.relative_to(folder / REGO).as_posix()}": path.read_text(encoding="utf-8") for path in tests
        }
    except OSError as error:
        raise PolicyError([f"{error.filename}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise PolicyError([f"{folder / REGO}: a file there is not UTF-8: save it as UTF-8"]) from None


def _counts(path: Path) -> bool:
    return (path.suffix == ".rego" and not path.name.endswith(_REGO_TEST)) or path.name == "data.json"


def _tools(path: Path) -> tuple[str, ...] | None:
    """The names in `{"tools": [{"name": …}, …]}`, in which a bare name may stand for an object."""
    if not path.is_file():
        return None
    try:
        tools = json.loads(path.read_text(encoding="utf-8"))["tools"]
        return tuple(str(tool if isinstance(tool, str) else tool["name"]) for tool in tools)
    except (ValueError, KeyError, TypeError):
        raise PolicyError([f'{path}: no list of tools: write what tools/list answers, {{"tools": […]}}']) from None
