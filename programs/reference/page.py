"""The page docs/command-line.md as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from textwrap import fill
from typing import Final

from programs.reference.commands import Command, Parameter
from programs.reference.variables import OF_A_PERSON, OF_ONE_CALL, OTHERS

_HEAD: Final = """\
<!-- Written by `make reference` from the help texts in sidecar/cli: change them there. -->

# The command line

This page has every command, every option and every environment variable. You need none of it for
[your first refusal](start.md). `sidecar COMMAND --help` (or `-h`) shows the same in your terminal.

| command | what it does |
|---|---|
"""

_GENERAL: Final = """\

Options before any command are those of `run`: `sidecar -c policy.yaml -- COMMAND` works too.
`sidecar --version` (or `-v`) prints the sidecar's version and nothing else.

## Values

| written as | examples | what it is |
|---|---|---|
| `DURATION` | `250ms`, `2s`, `1.5m`, `12h`, `30d` | a time: a number and a unit |
| `SIZE` | `64KiB`, `16MiB`, `1GiB`, `1000` | bytes: a whole number, and a unit if you like |
| `HOST:PORT` | `127.0.0.1:9464`, `[::1]:9464` | an address of this machine |
| `unix:PATH` | `unix:/run/sidecar/telemetry.sock` | a unix socket, with its absolute path |

## Exit statuses

Errors are on the error stream, one line each. A command ends with

| status | when |
|---|---|
| 0 | it did what you asked |
| 1 | the policy is wrong, the start failed, what you named is not there, or what was to be checked does not hold |
| 2 | the command line is wrong, or a file of tests cannot be read |
| 3, 4 | `explain`, `policy diff` and `policy replay` have an answer of that kind: see there |
| 130 | you pressed Ctrl-C |
| 128 + N | a signal of number N stopped it before it served |

`run` in front of a `COMMAND` ends with the status of the command, as a shell shows it.
"""

_EXAMPLES: Final = {
    "sidecar run": """\
sidecar run -c policy.yaml -- COMMAND                            # clients on standard input and output
sidecar run -c policy.yaml --upstream https://mcp.example/mcp    # the same, to a remote server
sidecar run -c policy.yaml --transport http -- COMMAND           # clients over HTTP, each with a server of its own
sidecar run -c policy.yaml --transport http --upstream https://mcp.example/mcp
""",
}
"""What a command is typed like where it has several forms."""

_VARIABLES: Final = """\
## Environment variables

Each of these sets an option. The option wins where both are given.

- **One of two**: of `-c` and `--bundle`, `--state-dir` and `--state-dsn`, a `COMMAND` and `--upstream` only one may be
  given. If one is on the command line, the variable of the other gives way, and the log says so. `SIDECAR_STATE_DSN`
  does not, nor does `SIDECAR_BUNDLE` where `SIDECAR_BUNDLE_KEY` asks for a signature. `SIDECAR_STATE_DIR` beside
  `--state-dsn` is still the folder of the audit log.
- **Options of others**: a variable about a listener does nothing on stdio, one about a remote server nothing in front
  of a `COMMAND`.
- **Switches**: `1`, `true`, `yes` or `on` turns a switch on; `0`, `false`, `no` or `off` leaves it off.
- **Several values**: files are separated by colons (`SIDECAR_CONFIG=a.yaml:b.yaml`), other values by blanks
  (`SIDECAR_ALLOW_HOST="a.example b.example"`). `SIDECAR_HEADER` has one header a line.
"""

_VARIABLES_OF_OPTIONS: Final = """\

| variable | option | of |
|---|---|---|
"""

_OTHERS: Final = """\

These set no option:

| variable | what it is for |
|---|---|
"""

_REST: Final = """\

- **A policy can name one more**: `secret_env` of [the webhook](webhook.md) names the variable with its secret. So can
  `--header 'Name: env:VARIABLE'`.
- **Secrets stay with the sidecar**: it removes a variable that holds a secret of its own before it starts the server's
  `COMMAND`. The command inherits the rest.
- **No proxies**: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `.netrc` are not read.
"""

_PLAIN: Final = re.compile(r"(`[^`]*`)")
_NAMES: Final = re.compile(
    r"(?<![\w-])(--[a-z][a-z-]*[a-z]|-c\b|\$?[A-Z]+(?:_[A-Z]+)+(?:/[\w-]+)?|(?:http\(s\)|https?|oci)://[^\s,;]*[^\s,;.])"
)
"""What is typed, in a help text, which has no room for marks."""


def page(commands: Sequence[Command]) -> str:
    """The page about these commands."""
    named = [command for command in commands if len(command.words) > 1]
    summaries = "".join(
        f"| {_link(command)} | {_cell(_summary(command))} |\n" for command in named if not _inner(command)
    )
    parts = [_HEAD + summaries + _GENERAL, *map(_command, named), _variables(named)]
    return "\n".join(parts) + _REST


def _command(command: Command) -> str:
    parts = [f"{'###' if _inner(command) else '##'} {command.name}\n", f"{_marked(command.text)}\n"]
    if not command.is_group:
        parts.append(f"```sh\n{command.usage}\n```\n")
    if command.name in _EXAMPLES:
        parts.append(f"```sh\n{_EXAMPLES[command.name]}```\n")
    if command.arguments:
        parts.append(_table("argument", command.arguments))
    for group, options in groupby(command.options, key=lambda option: option.group):
        if group:
            parts.append(f"**{group}**\n")
        parts.append(_table("option", options))
    return "\n".join(parts)


def _table(kind: str, parameters: Iterable[Parameter]) -> str:
    return f"| {kind} | meaning | default |\n|---|---|---|\n" + "".join(map(_row, parameters))


def _row(parameter: Parameter) -> str:
    """What is typed, with the variable below it; then the meaning, and the default."""
    written = " ".join(part for part in (", ".join(parameter.names), parameter.value) if part)
    typed = "<br>".join(_code(text) for text in (written, *parameter.variables))
    meaning = parameter.meaning + (" Can be given several times." if parameter.is_repeatable else "")
    return f"| {typed} | {_cell(meaning)} | {_cell(parameter.default)} |\n"


def _variables(commands: Sequence[Command]) -> str:
    return _VARIABLES + _without() + _VARIABLES_OF_OPTIONS + "".join(_of_options(commands)) + _others()


def _without() -> str:
    """Which options no variable sets."""
    of_a_person, of_one_call = (", ".join(map(_code, options)) for options in (OF_A_PERSON, OF_ONE_CALL))
    points = [
        (
            f"**No variable answers for a person**: {of_a_person} have none, nor has `--bundle-key` of "
            "`policy publish`. What an agent's shell sets must not decide in your name."
        ),
        (
            "**No variable for one call**: options that say what a command is about this time, or what it prints, have "
            f"none: {of_one_call}."
        ),
        "**A key is no path there**: `--key` has no variable of its own. `SIDECAR_POLICY_KEY` holds the key itself.",
    ]
    return "".join(f"{fill(f'- {point}', 116, subsequent_indent='  ', break_on_hyphens=False)}\n" for point in points)


def _of_options(commands: Sequence[Command]) -> Iterator[str]:
    """The rows of variables that set options, by their names."""
    found: dict[str, dict[str, list[Command]]] = {}
    for command in commands:
        for option in command.options:
            for variable in option.variables:
                found.setdefault(variable, {}).setdefault(option.names[-1], []).append(command)
    for variable, options in sorted(found.items()):
        names = ", ".join(map(_code, options))
        users = _together(dict.fromkeys(user for several in options.values() for user in several), commands)
        yield f"| {_code(variable)} | {names} | {', '.join(map(_link, users))} |\n"


def _together(users: Iterable[Command], commands: Sequence[Command]) -> list[Command]:
    """The same with a group in place of its commands where all of them are there."""
    found = list(users)
    for group in commands:
        own = [command for command in commands if command.words[:-1] == group.words and len(command.words) > 2]
        if own and all(command in found for command in own):
            found[found.index(own[0])] = group
            found = [command for command in found if command not in own]
    return found


def _others() -> str:
    return _OTHERS + "".join(f"| {_code(variable)} | {text} |\n" for variable, text in OTHERS.items())


def _summary(command: Command) -> str:
    return command.text.partition("\n\n")[0].partition(". ")[0].rstrip(".").replace("\n", " ")


def _inner(command: Command) -> bool:
    return len(command.words) > 2


def _link(command: Command) -> str:
    return f"[`{' '.join(command.words[1:])}`](#{'-'.join(command.words)})"


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _cell(text: str) -> str:
    return _marked(text).replace("|", "\\|").replace("\n", " ")


def _marked(text: str) -> str:
    """A help text, with what is typed in backticks."""
    parts = _PLAIN.split(text)
    parts[::2] = [_NAMES.sub(r"`\1`", part) for part in parts[::2]]
    return "".join(parts)
