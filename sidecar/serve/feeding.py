"""Bundles in a sidecar that runs: the feed that the settings ask for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from sidecar.distribution.access import Access
from sidecar.distribution.admission import admit, tried
from sidecar.distribution.feed import Feed
from sidecar.distribution.floor import SerialFloor
from sidecar.distribution.kept import Kept
from sidecar.distribution.places import source_of
from sidecar.ledger.protocol import Ledger
from sidecar.policy.bundle import Bundle
from sidecar.serve.observing import Observers
from sidecar.settings import Settings
from sidecar.system.operator_log import fields, log


def feed(
    settings: Settings, opa: Path, ledger: Ledger, accepts: Callable[[Bundle], None], observers: Observers,
    stack: AsyncExitStack,
) -> Feed:  # fmt: skip
    """The feed of bundles. Raises `StartError` for a source or a key that is none."""
    wanted = settings.bundle
    assert wanted is not None  # there is no policy in files
    if not wanted.keys:
        log.warning(
            "--bundle without --bundle-key: nobody's signature is checked, so whoever can write there decides",
            extra=fields("bundle_unsigned", option="--bundle"),
        )
    source = source_of(wanted.source, Access(wanted.secret, wanted.docker))
    stack.push_async_callback(source.close)
    return Feed(
        server=settings.server, source=source,
        admit=partial(admit, keys=wanted.keys, opa=opa, name=source.name, tried=tried()),
        floor=SerialFloor(ledger, settings.server), kept=Kept(observers.state_dir, settings.server), accepts=accepts,
        interval=wanted.interval, emit=observers.emit,
    )  # fmt: skip
