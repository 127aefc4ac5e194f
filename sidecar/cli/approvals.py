"""`sidecar approvals`: the queue of calls that wait for a person, in the store that the sidecars use."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import typer

from sidecar.approvals.document import document, grant_document, limits_after
from sidecar.approvals.queue import MAX_REASON
from sidecar.cli import approvals_text as text
from sidecar.cli.approvals_answer import give
from sidecar.cli.approvals_store import Store, find, ledger_of, origin, store_at, user, whole
from sidecar.cli.approvals_table import sentence
from sidecar.cli.approvals_watch import watch
from sidecar.cli.groups import Group
from sidecar.cli.options import one_of
from sidecar.cli.printing import complain, say
from sidecar.errors import UsageError
from sidecar.ledger.approvals import OPEN, STATES, Answer, State
from sidecar.mcp import strict_json
from sidecar.text import is_plain, of_system, visible

MOST_LISTED: Final = 1_000
LONGEST_NAME: Final = 128
"""Characters."""

Verdict: TypeAlias = Literal["approve", "deny", "committed", "failed", "revoke"]

Id: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it.", show_default=False)]
StateDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        envvar="SIDECAR_STATE_DIR",
        metavar="DIR",
        help="The folder that `run` keeps approvals in. [default: $XDG_STATE_HOME/intercept-sidecar]",
    ),
]
StateDsn: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_STATE_DSN", metavar="redis://HOST", show_default=False,
        help="The Redis or Valkey that `run` keeps approvals in; the folder then gets the audit lines only.",
    ),
]  # fmt: skip
StatePrefix: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="SIDECAR_STATE_PREFIX", metavar="TEXT", help="What keys in that store begin with.", show_default=False
    ),
]
By: TypeAlias = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", show_default=False, help="Who answers. [default: the user of the system]"),
]
Reason: TypeAlias = Annotated[str, typer.Option("--reason", metavar="TEXT", show_default=False, help="Why.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]

approvals_app = typer.Typer(
    cls=Group,
    help="Show calls that wait for a person, and answer them. Whoever owns the state folder can.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


@approvals_app.command("list")
def list_command(
    server: Annotated[
        str,
        typer.Option(envvar="SIDECAR_SERVER", metavar="NAME", help="Only calls to this server.", show_default=False),
    ] = "",
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", show_default=False, help=f"Only these states: {', '.join(STATES)}."),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Also those that are over, of the last 7 days.")] = False,
    grants: Annotated[bool, typer.Option("--grants", help="Only standing approvals.")] = False,
    watched: Annotated[
        bool, typer.Option("--watch", help="Stay, and follow what changes; in a pipe one line a change. q ends it.")
    ] = False,
    as_json: AsJson = False,
    state_dir: StateDir = None,
    state_dsn: StateDsn = None,
    state_prefix: StatePrefix = "",
) -> int:
    """List calls that wait for a person or for their agent, that run, or of which nobody knows whether they ran."""
    if sum((grants, bool(state), show_all)) > 1:
        raise UsageError("--all, --state and --grants each say what to list: give one of them")
    if watched and grants:
        raise UsageError("--watch follows approvals, and shows the standing ones below: leave out --grants")
    states = frozenset(one_of("--state", one, STATES) for one in state) if state else STATES if show_all else OPEN
    store = store_at(state_dir, state_dsn, state_prefix)
    server = of_system(server)
    if watched:
        return asyncio.run(_watch(store, frozenset(states), server, as_json=as_json))
    return asyncio.run(_list(store, frozenset(states), server, grants_only=grants, as_json=as_json))


@approvals_app.command("show")
def show_command(
    id: Id,  # noqa: A002 - the field's word
    as_json: AsJson = False,
    state_dir: StateDir = None,
    state_dsn: StateDsn = None,
    state_prefix: StatePrefix = "",
) -> int:
    """Show all of a call that waits: its arguments in full, who asks and why, and what its limits would be after it."""
    return asyncio.run(_show(store_at(state_dir, state_dsn, state_prefix), of_system(id), as_json=as_json))


@approvals_app.command("approve")
def approve_command(
    id: Id,  # noqa: A002
    grant: Annotated[bool, typer.Option("--grant", help="Approve calls like this one too, as far as its rule says.")]
    = False,
    by: By = None,
    reason: Reason = "",
    as_json: AsJson = False,
    state_dir: StateDir = None,
    state_dsn: StateDsn = None,
    state_prefix: StatePrefix = "",
) -> int:  # fmt: skip
    """Approve exactly this call: it goes through once, when the agent makes it again."""
    given = _answer("approve", by, reason, grant=grant)
    return _give(store_at(state_dir, state_dsn, state_prefix), id, given, as_json=as_json)


@approvals_app.command("deny")
def deny_command(
    id: Id,  # noqa: A002
    by: By = None,
    reason: Reason = "",
    as_json: AsJson = False,
    state_dir: StateDir = None,
    state_dsn: StateDsn = None,
    state_prefix: StatePrefix = "",
) -> int:
    """Refuse a call; the agent is told, with the reason."""
    given = _answer("deny", by, reason)
    return _give(store_at(state_dir, state_dsn, state_prefix), id, given, as_json=as_json)


@approvals_app.command("resolve")
def resolve_command(
    id: Id,  # noqa: A002
    committed: Annotated[bool, typer.Option("--committed", help="It ran.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="It did not: give back what it took from its limits.")]
    = False,
    by: By = None,
    reason: Reason = "",
    as_json: AsJson = False,
    state_dir: StateDir = None,
    state_dsn: StateDsn = None,
    state_prefix: StatePrefix = "",
) -> int:  # fmt: skip
    """Say what became of a call that is unknown: it was forwarded and no answer came."""
    if committed is failed:
        raise UsageError("say whether the call ran: --committed, or --failed if it certainly did not")

    given = _answer("committed" if committed else "failed", by, reason)
    return _give(store_at(state_dir, state_dsn, state_prefix), id, given, as_json=as_json)


@approvals_app.command("revoke")
def revoke_command(
    id: Id,  # noqa: A002
    by: By = None,
    reason: Reason = "",
    as_json: AsJson = False,
    state_dir: StateDir = None,
    state_dsn: StateDsn = None,
    state_prefix: StatePrefix = "",
) -> int:
    """Take back an approval that was not used yet, and the standing one that was given with it."""

    given = _answer("revoke", by, reason)
    return _give(store_at(state_dir, state_dsn, state_prefix), id, given, as_json=as_json)


async def _list(store: Store, states: frozenset[State], server: str, *, grants_only: bool, as_json: bool) -> int:
    async with ledger_of(store) as ledger:
        approvals = ledger.approvals
        records = [] if grants_only else await approvals.records(states, server=server, limit=MOST_LISTED, brief=True)
        if as_json:
            records = [await whole(approvals, one) for one in records]
        grants = await ledger.approvals.grants(server) if grants_only or not as_json else []
    now = time.time()
    if as_json:
        _print_json([*(document(one, now) for one in records), *(grant_document(one, now) for one in grants)])
    elif lines := text.list_lines(records, grants, now, _width()):
        say(*lines)
    else:
        say("No standing approval." if grants_only else "No approval: what waits for a person is listed here.")
    if len(records) >= MOST_LISTED:
        complain(f"sidecar: only the newest {MOST_LISTED} are listed")
    return 0


async def _watch(store: Store, states: frozenset[State], server: str, *, as_json: bool) -> int:
    async with ledger_of(store) as ledger:
        await watch(ledger.approvals, states, server, _json if as_json else None)
    return 0


async def _show(store: Store, id_: str, *, as_json: bool) -> int:
    async with ledger_of(store) as ledger:
        record = await find(ledger.approvals, id_)
        after = await limits_after(record, ledger) if record.state in ("pending", "approved") else ()
    now = time.time()
    if as_json:
        _print_json(document(record, now, after))
    else:
        say(*text.full_lines(record, after, now, _width()))
    return 0


def _give(store: Store, id_: str, answer: Answer, *, as_json: bool) -> int:
    """Give an answer and say what it came to."""
    given = asyncio.run(give(store, of_system(id_), answer))
    now = time.time()
    if as_json:
        _print_json(document(given.record, now))
        return 0
    match answer.verdict:
        case "approve" | "deny":
            lines = text.answered_lines(given.record, given.answer, now, changed=given.changed)
        case "committed" | "failed":
            lines = text.resolved_lines(given.record, given.answer)
        case "revoke":
            lines = text.revoked_lines(given.record)
    say(*(piece for line in lines for piece in sentence(line, _width())))
    return 0


def _answer(verdict: Verdict, by: str | None, reason: str, *, grant: bool = False) -> Answer:
    """An answer as the options give it. Raises `UsageError`."""
    name, why = of_system(by) if by is not None else user(), of_system(reason)
    if not name or name != name.strip() or not is_plain(name) or len(name) > LONGEST_NAME:
        raise UsageError(f"--by takes a name: 1 to {LONGEST_NAME} visible characters, with no blank around them")
    if len(why) > MAX_REASON:
        raise UsageError(f"--reason takes at most {MAX_REASON} characters")
    return Answer(name, 0.0, "cli", origin(), verdict, why, grant)


def _print_json(found: Sequence[dict[str, Any]] | dict[str, Any]) -> None:
    say(_json(found))


def _json(found: Sequence[dict[str, Any]] | dict[str, Any]) -> str:
    """JSON in one line; what could fool a terminal stands in escapes, which are the same JSON."""
    return visible(strict_json.encode(found).decode())


def _width() -> int | None:
    """Columns of the terminal, or those that the environment gives; None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else None
