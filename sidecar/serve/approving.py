"""Approvals in a sidecar that runs: the listener for people, the upkeep, and what is said where nobody could answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AsyncExitStack

from sidecar.approvals import webhook
from sidecar.approvals.upkeep import Upkeep
from sidecar.errors import StartError, StoreUnavailable
from sidecar.events import Emit
from sidecar.ledger.protocol import Ledger
from sidecar.policy.bundle import Bundle
from sidecar.policy.terms import Terms
from sidecar.settings import Settings
from sidecar.system.operator_log import fields, log, state
from sidecar.system.taken_secrets import TakenSecrets
from sidecar.text import shown


def check(bundle: Bundle, taken: TakenSecrets, *, server_runs: bool) -> None:
    """Whether the policy's webhook can be told. From now on its secret is ours alone. Raises `StartError`.

    Where a program of ours that is the server runs already, it has inherited the secret: that is said.
    """
    terms = bundle.terms.approvals
    is_inherited = server_runs and terms.secret_env in os.environ
    webhook.webhook(terms, taken.take)
    if is_inherited:
        log.warning(
            "%s was in the environment of the MCP server when it was started, and with it the server can speak to the "
            "webhook in our name: start the sidecar again under this policy, with another secret",
            shown(terms.secret_env), extra=fields("webhook_secret_inherited"),
        )  # fmt: skip


def say_unanswered(settings: Settings, bundle: Bundle) -> None:
    """Say where a rule asks a person, and nobody would hear of it, or whoever asked could answer."""
    if bundle.terms.mode(settings.mode) == "monitor":
        return  # nobody is asked
    if bundle.terms.asks_people and settings.approvals is None and not bundle.terms.approvals.webhook:
        log.warning(
            "a rule asks a person, and nobody is told: answer with `sidecar approvals list` and `sidecar approvals "
            "approve ID`, start with --approvals and --approvers-file, or write approvals.notify into the policy",
            extra=fields("nobody_told"),
        )
    if bundle.terms.tells_apart and not (settings.listen and settings.listen.jwt):
        log.warning(
            "the policy wants people who are not who asked (four_eyes, or several approvers), and who asks is not "
            "known here: whoever asked may be one of them; serve over HTTP with --jwt-jwks",
            extra=fields("askers_unknown"),
        )


async def key(ledger: Ledger) -> bytes:
    """The secret of the store, by which calls are known again. Raises `StartError`."""
    try:
        return await ledger.approvals.secret()
    except StoreUnavailable as error:
        raise StartError(str(error)) from None


async def doubtful(ledger: Ledger, server: str) -> frozenset[str]:
    """The tools of which the store has calls that may have run, or run now. Raises `StartError`."""
    try:
        found = await ledger.approvals.records(("in_use", "unknown"), server=server, brief=True)
    except StoreUnavailable as error:
        raise StartError(str(error)) from None
    return frozenset(record.asked.tool for record in found)


async def listen(settings: Settings, ledger: Ledger, emit: Emit, stack: AsyncExitStack) -> str:
    """Let people answer over HTTP where that is wanted: the URL of the page, else empty. Raises `StartError`."""
    if settings.approvals is None:
        return ""
    # Only here: most sidecars have no page, and its templates take long to import.
    from sidecar.approvals.listener import serve_approvals  # noqa: PLC0415

    server = await serve_approvals(settings.approvals, ledger, settings.server, emit)
    stack.push_async_callback(server.close, 0)
    host = settings.approvals.address.host
    address = f"http://{f'[{host}]' if ':' in host else host}:{server.port}"
    state.info("approvals on %s", address, extra=fields("approvals_listening", address=address))
    return settings.approvals.url


def keep_up(
    settings: Settings, instance: str, ledger: Ledger, emit: Emit, terms: Callable[[], Terms], page: str,
    taken: TakenSecrets, stack: AsyncExitStack,
) -> None:  # fmt: skip
    """Keep up the approvals until the end."""
    upkeep = Upkeep(
        server=settings.server, instance=instance, ledger=ledger, emit=emit, terms=terms, page=page, secret=taken.take
    )
    stack.push_async_callback(upkeep.close)
    upkeep.start()
