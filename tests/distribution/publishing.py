"""One publication, from the text that names the place to the end."""

from __future__ import annotations

from sidecar.distribution.access import ANONYMOUS, Access
from sidecar.distribution.label import Label
from sidecar.distribution.publish import publish
from sidecar.distribution.writable import destination_of


async def published(place: str, data: bytes, access: Access = ANONYMOUS, warned: list[str] | None = None) -> Label:
    """The label of the bundle that was published."""
    destination = destination_of(place, access)
    try:
        return (await publish(data, destination, (warned if warned is not None else []).append))[0]
    finally:
        await destination.close()
