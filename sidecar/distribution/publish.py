"""Publishes a bundle: under its serial, which nobody can have had with other content, and then as the current one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidecar.distribution.destination import Destination, NoCopy, Taken
from sidecar.distribution.label import Label, checked, label
from sidecar.errors import BundleRefused

TRIES: Final = 4
"""How often the current bundle is replaced again when others publish at the same time."""
MAX_STEPS: Final = 1000
"""Serials that are looked at for a free one."""


async def publish(data: bytes, place: Destination, warn: Callable[[str], None]) -> tuple[Label, bool]:
    """Publish a bundle; its label, and whether anything was written.

    Raises `BundleRefused` of kind `older` or `conflict` where the place has a newer one, or another one of its serial.
    """
    ours = checked(data)
    there = await _current_label(place)
    _may_follow(ours, there, place.name)
    if there is not None and there.signed and not ours.signed:
        warn(f"{place.name}: the bundle there is signed, and this one is not: sidecars that have a key will refuse it")
    written = await _keep(data, ours, place, warn)
    return ours, await _make_current(data, ours, place) or written


async def highest(place: Destination) -> int:
    """The highest serial that the place has, 0 for none. One may be there that is not current yet."""
    found = await _current_label(place)
    serial = found.serial if found else 0
    for _ in range(MAX_STEPS):
        if await copy(serial + 1, place) is None:
            return serial
        serial += 1
    raise BundleRefused(
        "conflict", f"{place.name}: has {MAX_STEPS} serials above the current one: look what wrote them"
    )


async def copy(serial: int, place: Destination) -> bytes | None:
    """The bundle of a serial that the place has; what says another serial of itself is none."""
    found = await place.of_serial(serial)
    return found if found is not None and _labelled(found, place.name).serial == serial else None


async def _keep(data: bytes, ours: Label, place: Destination, warn: Callable[[str], None]) -> bool:
    """Write the copy of the serial, unless it is there."""
    try:
        there = await place.of_serial(ours.serial)
        if there is None:
            await place.keep(ours.serial, data, ours)
            return True
    except Taken:
        there = await place.of_serial(ours.serial)
    except NoCopy as error:
        warn(str(error))
        return False
    found = _labelled(there, place.name) if there is not None else None
    if found is not None and found.serial != ours.serial:
        warn(f"{place.name}: gives serial {found.serial} where the copy of {ours.serial} would be: it keeps no copies")
    elif found is not None and found.revision != ours.revision:
        raise _conflict(ours, place.name)
    return False


async def _make_current(data: bytes, ours: Label, place: Destination) -> bool:
    for _ in range(TRIES):
        there = await place.current()
        if there == data:
            return False
        _may_follow(ours, _labelled(there, place.name) if there is not None else None, place.name)
        try:
            await place.replace(there, data, ours)
        except Taken:
            continue
        return True
    raise BundleRefused("conflict", f"{place.name}: others publish there again and again; try once more")


def _may_follow(ours: Label, there: Label | None, name: str) -> None:
    if there is None:
        return
    if there.serial > ours.serial:
        raise BundleRefused(
            "older",
            f"{name}: has serial {there.serial}, and this bundle has {ours.serial}: build with --serial "
            f"{there.serial + 1}, or publish old content anew with --rollback",
        )
    if there.serial == ours.serial and there.revision != ours.revision:
        raise _conflict(ours, name)


def _conflict(ours: Label, name: str) -> BundleRefused:
    return BundleRefused(
        "conflict",
        f"{name}: has serial {ours.serial} with other content: a serial is given once; build with --serial "
        f"{ours.serial + 1}",
    )


async def _current_label(place: Destination) -> Label | None:
    there = await place.current()
    return None if there is None else _labelled(there, place.name)


def _labelled(data: bytes, name: str) -> Label:
    try:
        return label(data)
    except BundleRefused as error:
        raise BundleRefused(
            error.kind, f"{name}: what is there is no bundle of ours: {error}; remove it first"
        ) from None
