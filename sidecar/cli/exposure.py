"""What a run says at its start of listeners and secrets that more, or fewer, can reach than their owner may think."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from ipaddress import ip_address
from socket import inet_aton

from sidecar.auth.hosts import beyond_loopback, is_loopback
from sidecar.settings import ApprovalsListener, Listen, Settings
from sidecar.system import ownership


def exposed(settings: Settings) -> Iterator[str]:
    """The texts of warnings about the listeners, and about files with secrets."""
    if settings.listen is not None:
        yield from of_clients(settings.listen)
    if settings.approvals is not None:
        yield from of_approvals(settings.approvals)
    yield from of_files(settings)


def of_clients(listen: Listen) -> Iterator[str]:
    """Warnings about the listener for MCP clients."""
    where = listen.address.host
    if is_loopback(where):
        if not listen.knows_callers and (names := beyond_loopback(listen.allow_hosts)):
            # So a tunnel or a proxy is set up, and whoever reaches that calls us from loopback.
            yield (
                f"--allow-host {names[0]} lets whoever reaches a tunnel or a proxy to this port call without showing "
                "who it is: give --auth-token-file or --jwt-jwks, unless what stands in front asks for a login"
            )
        return
    if not listen.knows_callers:
        # Nor does --allow-host help: a program sends any Host that it likes.
        yield (
            f"--bind {where} lets whoever reaches this port call without showing who it is: "
            "give --auth-token-file or --jwt-jwks, or bind 127.0.0.1"
        )
    if is_wildcard(where) and not listen.allow_hosts:
        yield (
            f"--bind {where} and no --allow-host: clients on other machines get 421, since only loopback names are "
            "admitted; give --allow-host NAME, the name by which they come"
        )


def of_approvals(listener: ApprovalsListener) -> Iterator[str]:
    """Warnings about the listener for approvers."""
    if not is_loopback(listener.address.host):
        yield (
            f"--approvals {listener.address} is reachable from other machines, and approvers' tokens travel there as "
            "plain text: listen on loopback, or let only what speaks TLS to people reach it"
        )


def of_files(settings: Settings) -> Iterator[str]:
    """Warnings about files with secrets that every user of this machine can read.

    They are no errors: Kubernetes mounts a Secret so, in a pod where nobody else is.
    """
    secrets = [(f"--header {one.name}", one.path) for one in settings.upstream.headers] if settings.upstream else []
    if settings.listen is not None:
        secrets.append(("--auth-token-file", settings.listen.token_file))
    for option, path in secrets:
        if path is not None and ownership.everybody_reads(path):
            yield (
                f"{option}: every user of this machine can read {path}: `chmod o-r {shlex.quote(str(path))}`, or give "
                "its Secret the defaultMode 0440"
            )


def is_wildcard(host: str) -> bool:
    """True for an address that means every address of this machine, in any spelling."""
    try:
        return not host or ip_address(host).is_unspecified
    except ValueError:
        pass
    try:
        return not any(inet_aton(host))  # "0" and "0x0" too, as whoever binds it reads them
    except (OSError, UnicodeError):
        return False
