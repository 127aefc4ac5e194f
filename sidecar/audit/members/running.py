"""Lines about the sidecar itself: its start and its end, the policy in force, and whoever could not sign in."""

from __future__ import annotations

import msgspec

from sidecar.audit.members.line import UNSET, Line, Text, encoded, said
from sidecar.events import BundleJudged, EngineReady, HttpRefused, Reloaded, Started, Stopped
from sidecar.text import shown


class _SignInFailed(Line, frozen=True, gc=False):
    listener: str
    status: int
    reason: str
    text: str
    peer: str
    times: int


class _Policy(Line, frozen=True, gc=False):
    accepted: bool
    revision: Text = UNSET
    serial: int | msgspec.UnsetType = UNSET
    commit: Text = UNSET
    mode: Text = UNSET
    refused: Text = UNSET
    reason: Text = UNSET


class _Started(Line, frozen=True, gc=False):
    version: str
    opa: str
    client_transport: str
    upstream_transport: str
    authentication: str
    mode: str
    fail_mode: str
    revision: str
    serial: int


class _Stopped(Line, frozen=True, gc=False):
    status: int
    why: str
    signal: Text
    seconds: float


def sign_in_failed(instance: str, event: HttpRefused, times: int) -> bytes:
    """Somebody was refused who did not show who he is, so many times."""
    return encoded(_SignInFailed(
        instance, event.server, event.listener, event.status, event.reason, said(event.text), shown(event.peer),
        times,
    ))  # fmt: skip


def policy_in_force(instance: str, event: EngineReady) -> bytes:
    """Another policy decides from now on."""
    return encoded(_Policy(
        instance, event.server, True, event.revision, event.serial, shown(event.commit) or UNSET,
        event.terms.mode(None),
    ))  # fmt: skip


def files_refused(instance: str, event: Reloaded) -> bytes:
    """Changed policy files are not put in force."""
    return encoded(_Policy(instance, event.server, False, reason=said(event.text)))


def bundle_refused(instance: str, event: BundleJudged) -> bytes:
    """A bundle is not put in force."""
    return encoded(_Policy(
        instance, event.server, False, serial=event.serial or UNSET, commit=shown(event.commit) or UNSET,
        refused=event.refused, reason=said(event.text),
    ))  # fmt: skip


def started(instance: str, event: Started) -> bytes:
    """A sidecar began to serve, and by which settings that matter for what it lets through."""
    return encoded(_Started(
        instance, event.server, event.version, event.opa, event.client, event.upstream, event.authentication,
        event.mode, "open" if event.fail_open else "closed", event.revision, event.serial,
    ))  # fmt: skip


def stopped(instance: str, event: Stopped) -> bytes:
    """A sidecar ended."""
    return encoded(_Stopped(
        instance, event.server, event.status, event.why, event.signal or UNSET, round(event.seconds, 3)
    ))  # fmt: skip
