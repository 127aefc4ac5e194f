"""Places that bundles can be published to, as an operator writes them."""

from __future__ import annotations

from pathlib import Path

from sidecar.distribution.access import ANONYMOUS, Access
from sidecar.distribution.destination import Destination
from sidecar.distribution.folder_destination import FolderDestination
from sidecar.distribution.oci.reference import OciReference
from sidecar.distribution.places import place_name, place_of
from sidecar.errors import UsageError
from sidecar.http.origin import parse


def destination_of(text: str, access: Access = ANONYMOUS) -> Destination:
    """The place that a text names, to publish to. Nothing is asked yet. Raises `UsageError`."""
    place = place_of(text, access)
    if isinstance(place, Path):
        if place.is_file() or (not place.exists() and place.name.endswith(".tar.gz")):
            raise UsageError(f"{place_name(text)} is a file: name the directory that bundles are published in")
        return FolderDestination(place)
    # Imported only here: httpx takes long to import.
    from sidecar.distribution.http_destination import HttpDestination  # noqa: PLC0415
    from sidecar.distribution.oci.destination import OciDestination  # noqa: PLC0415

    if isinstance(place, OciReference):
        if place.pinned:
            raise UsageError(f"{place_name(text)} names one content for ever: name a tag, as oci://HOST/NAME:latest")
        if place.tag.startswith("serial-"):
            raise UsageError(
                f"{place_name(text)} is the tag of a serial, which is given once: name another tag, or none"
            )
        return OciDestination(place, access)
    if parse(place.text)[1].partition("?")[0].endswith("/"):  # also where there is no path
        raise UsageError(f"{place_name(text)} names no file: write where sidecars fetch it, as …/bundle.tar.gz")
    return HttpDestination(place.text, access)
