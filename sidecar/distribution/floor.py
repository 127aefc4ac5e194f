"""The floor that serials stand on: no bundle comes into force that is older than one that ever was."""

from __future__ import annotations

from sidecar.errors import BundleRefused
from sidecar.ledger.protocol import Highest, Ledger
from sidecar.policy.bundle import Bundle


class SerialFloor:
    """The highest serial that was ever admitted for a server, in the store that its sidecars share.

    A store may be emptied, or go back to what it was. Who runs remembers, and has it know again.
    """

    def __init__(self, ledger: Ledger, server: str) -> None:
        self._ledger = ledger
        self._server = server
        self._known: Highest | None = None

    async def rise(self, bundle: Bundle) -> None:
        """Note a bundle as admitted. Raises `BundleRefused` for an older one, or for other content of that serial.

        Raises `StoreUnavailable` where the store cannot say.
        """
        highest = await self._highest(Highest(bundle.serial, bundle.revision))
        if highest.serial > bundle.serial:
            raise BundleRefused(
                "older",
                f"it has serial {bundle.serial}, and serial {highest.serial} was in force before: to go back, publish "
                "its content anew, `sidecar policy publish FILE.tar.gz DEST --rollback`",
            )
        if highest.revision != bundle.revision:
            raise BundleRefused(
                "conflict",
                f"it has serial {bundle.serial}, which was in force before with other content: a serial is given once; "
                f"build it with a higher one, `sidecar policy build DIR -o FILE.tar.gz --serial {bundle.serial + 1}`",
            )

    async def _highest(self, asked: Highest) -> Highest:
        """The highest of what we remember, what the store does, and this one."""
        known = self._known
        found = await self._ledger.admit(self._server, known if known and known.serial >= asked.serial else asked)
        if known is None or found.serial > known.serial:
            known = self._known = found
        return known
