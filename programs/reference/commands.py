"""The commands of `sidecar` as values, read from the command line itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import typer
from typer.core import TyperOption
from typer.main import get_command

from sidecar.cli import app

NONE: Final = "none"
NEEDED: Final = "needed"

_SAID: Final = re.compile(r"\s*\[(default|env var): ([^]]*)\]")
"""What a help text says itself where typer would say it less well."""
_ONE_WORD: Final = re.compile(r"\{([^{}| ]*)\}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option or an argument, as its help describes it.

    `names` are those of an option, an argument has none. `value` is what stands for its value, empty for a switch;
    `default` is what counts where it is not given, in words.
    """

    names: tuple[str, ...]
    value: str
    meaning: str
    default: str
    variables: tuple[str, ...]
    is_repeatable: bool
    group: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command, or a group of them, which has no parameters of its own but for the root's."""

    words: tuple[str, ...]
    usage: str
    text: str
    arguments: tuple[Parameter, ...]
    options: tuple[Parameter, ...]
    is_group: bool

    @property
    def name(self) -> str:
        """What is typed."""
        return " ".join(self.words)


def commands() -> tuple[Command, ...]:
    """All commands in the order of the help, each group before its own."""
    return tuple(_walk(get_command(app), None))


def _walk(command: Any, parent: Any) -> Iterator[Command]:
    context: Any = typer.Context(command, info_name=command.name or "sidecar", parent=parent)
    is_group = hasattr(command, "list_commands")
    parameters = [(param, _parameter(param, context)) for param in command.params]
    yield Command(
        tuple(context.command_path.split()),
        _usage(command, context),
        inspect.cleandoc(command.help or ""),
        tuple(one for param, one in parameters if not isinstance(param, TyperOption)),
        tuple(one for param, one in parameters if isinstance(param, TyperOption)),
        is_group,
    )
    if is_group:
        for name in command.list_commands(context):
            yield from _walk(command.get_command(context, name), context)


def _usage(command: Any, context: Any) -> str:
    """The line of the help that shows how a command is written, without braces around what is one word anyway."""
    pieces = command.collect_usage_pieces(context)
    has_options = any(isinstance(param, TyperOption) for param in command.params)
    return " ".join([context.command_path, *(_ONE_WORD.sub(r"\1", piece) for piece in pieces[not has_options :])])


def _parameter(param: Any, context: Any) -> Parameter:
    said = dict(_SAID.findall(param.help or ""))
    is_option = isinstance(param, TyperOption)
    switch = is_option and param.is_flag
    variables = [param.envvar] if isinstance(param.envvar, str) else list(param.envvar or ())
    if "env var" in said:
        variables.append(said["env var"].partition(",")[0])
    return Parameter(
        tuple(param.opts) if is_option else (),
        "" if switch else param.make_metavar(context),
        _SAID.sub("", param.help or "").strip(),
        said.get("default") or _default(param, switch=switch),
        tuple(variables),
        bool(getattr(param, "multiple", False)),
        getattr(param, "rich_help_panel", None) or "",
    )


def _default(param: Any, *, switch: bool) -> str:
    if param.required:
        return NEEDED
    if switch:
        return "off"
    if param.default in (None, "", ()):
        return NONE
    return f"`{param.default}`"
