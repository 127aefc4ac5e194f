"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import typer

from sidecar.errors import UsageError
from sidecar.observe.log.lines import JsonLines, TextLines
from sidecar.settings import Address, UnixSocket
from sidecar.system import instances
from sidecar.system.operator_log import FOR_PROGRAMS, state
from sidecar.system.unblocked import handler_to

Config: TypeAlias = Annotated[
    list[Path],
    typer.Option(
        "-c", "--config", envvar="SIDECAR_CONFIG", metavar="FILE", show_default=False,
        help="The policy, a YAML file; several are merged.",
    ),
]  # fmt: skip
ConfigUnlessBundle: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "-c", "--config", envvar="SIDECAR_CONFIG", metavar="FILE", show_default=False,
        help="The policy, a YAML file; several are merged. Needed, unless --bundle is given.",
    ),
]  # fmt: skip
ConfigOrFiles: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "-c",
        "--config",
        envvar="SIDECAR_CONFIG",
        metavar="FILE",
        show_default=False,
        help="The same as FILE; several are merged.",
    ),
]
Files: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FILE]...", show_default=False, help="The policy, a YAML file; several are merged."),
]
OpaBin: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--opa-bin", envvar=["SIDECAR_OPA_BIN", "OPA_BIN"], metavar="PATH", show_default=False,
        help="The opa binary. [default: beside this package, in .tools, on the PATH]",
    ),
]  # fmt: skip

Choice = TypeVar("Choice", bound=str)

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_SIZES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def duration(text: str) -> float:
    """Seconds in a duration as `250ms`, `2s`, `1m`, `12h`, `30d`. Raises `UsageError`."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", text)
    if found is None or float(found[1]) <= 0:
        raise UsageError(f"{text!r} is no duration: write a number above 0 and a unit, as 250ms or 2s")
    return float(found[1]) * _UNITS[found[2]]


def size(text: str) -> int:
    """Bytes in a size as `16MiB`, `64KiB`, `1000`. Raises `UsageError`."""
    found = re.fullmatch(r"([0-9]+)(B|KiB|MiB|GiB)?", text)
    if found is None or int(found[1]) == 0:
        raise UsageError(f"{text!r} is no size: write a number above 0 and a unit, as 16MiB or 64KiB")
    return int(found[1]) * _SIZES[found[2] or ""]


def address(text: str) -> Address:
    """A host and a port in `127.0.0.1:9464` or `[::1]:9464`. Raises `UsageError`."""
    found = re.fullmatch(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})", text)
    if found is None or int(found["port"]) > 65535:
        raise UsageError(f"{text!r} is no address: write HOST:PORT, as 127.0.0.1:9464")
    return Address(found["six"] or found["host"], int(found["port"]))


def address_or_socket(text: str) -> Address | UnixSocket:
    """A host and a port, or a unix socket in `unix:/path/to/socket`. Raises `UsageError`."""
    if not text.startswith("unix:"):
        return address(text)
    path = Path(text.removeprefix("unix:"))
    if not path.is_absolute():
        raise UsageError(f"{text!r} is no unix socket: write its absolute path, as unix:/run/sidecar/telemetry.sock")
    return UnixSocket(path)


def one_of(option: str, text: str, choices: tuple[Choice, ...]) -> Choice:
    """The choice that `text` names. Raises `UsageError` if it is none of them."""
    for choice in choices:
        if choice == text:
            return choice
    raise UsageError(f"{option} must be {' or '.join(choices)}, not {text!r}")


def policies(ctx: typer.Context, config: Sequence[Path] | None, files: Sequence[Path] | None) -> list[Path]:
    """The policy files of a command that takes them with -c or alone. Those of the environment count if there are none.

    Raises `UsageError` where none is named.
    """
    source = ctx.get_parameter_source("config")
    if files and source is not None and source.name == "ENVIRONMENT":
        config = ()
    if named := [*(config or ()), *(files or ())]:
        return named
    raise UsageError(f"no policy: name a file, as `{ctx.command_path} policy.yaml`")


def written(ctx: typer.Context) -> set[str]:
    """The names of the parameters that the command line itself gives a value."""
    return _from(ctx, "COMMANDLINE")


def from_variables(ctx: typer.Context) -> set[str]:
    """The names of the parameters that the environment gives a value, and the command line none."""
    return _from(ctx, "ENVIRONMENT")


def _from(ctx: typer.Context, source: str) -> set[str]:
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return {name for name, found in sources.items() if found is not None and found.name == source}


def default_state_dir() -> Path:
    """The state folder of whoever names none."""
    return Path(instances.default_state_dir())


def set_up_logging(level: str, form: str) -> None:
    """Send our log to the error stream. Raises `UsageError` for a level or a format that does not exist."""
    level = {"warn": "warning"}.get(level.lower(), level.lower())
    one_of("--log-level", level, ("debug", "info", "warning", "error"))
    one_of("--log-format", form, ("text", "json"))
    handler = handler_to(sys.stderr)
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    handler.setFormatter(JsonLines() if form == "json" else TextLines(colour=colour))
    if form == "json":
        handler.set_name(FOR_PROGRAMS)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    # At any level: programs that start us wait for these lines.
    state.setLevel(logging.INFO)
