"""Commands that are imported when they are called: `run` must not wait for what only the others need."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from sidecar.cli.groups import HELP_OPTIONS, Group
from sidecar.cli.panels import arrange
from sidecar.cli.server_words import Command


def _nothing() -> None:
    """A group does nothing by itself."""


def commands(
    name: str, text: str, places: Mapping[str, str], *, default: str = "", callback: Callable[..., None] = _nothing
) -> typer.Typer:
    """A group of commands: the name of each, and where it is, as `module:attribute` below `sidecar.cli`.

    There stands the function of a command, or another group. Options before any command are those of `default`.
    `callback` has the group's own options.
    """
    default_command = default

    class Commands(Group):
        default = default_command

        def list_commands(self, ctx: object) -> list[str]:
            return list(places)

        def get_command(self, ctx: object, cmd_name: str) -> Any:
            return _command(cmd_name, places[cmd_name]) if cmd_name in places else None

    made = _typer(name, text, Commands)
    made.callback()(callback)
    return made


def _command(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(importlib.import_module(f"sidecar.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        alone = _typer(name, None, None)
        alone.command(name, cls=Command)(found)
        found = alone
    command = get_command(found)
    command.name = name
    arrange(command)
    return command


def _typer(name: str, text: str | None, cls: type[TyperGroup] | None) -> typer.Typer:
    return typer.Typer(
        name=name,
        help=text,
        cls=cls,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",  # in "rich" a bracket, as in [default: …], is markup and not shown
        context_settings={"help_option_names": list(HELP_OPTIONS)},
    )
