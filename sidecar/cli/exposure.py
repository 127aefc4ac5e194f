"""What a run says at its start of listeners that more, or fewer, can reach than their owner may think."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from socket import inet_aton

from sidecar.auth.hosts import is_loopback
from sidecar.settings import ApprovalsListener, Listen, Settings


def exposed(settings: Settings) -> Iterator[str]:
    """The texts of warnings about the listeners."""
    if settings.listen is not None:
        yield from of_clients(settings.listen)
    if settings.approvals is not None:
        yield from of_approvals(settings.approvals)


def of_clients(listen: Listen) -> Iterator[str]:
    """Warnings about the listener for MCP clients."""
    where = listen.address.host
    if is_loopback(where):
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
