"""What a form of audit lines can do, and the one that was chosen."""

from __future__ import annotations

from typing import Protocol, TypeAlias, assert_never

from sidecar.settings import AuditFormat

Unsealed: TypeAlias = tuple[bytes, int, bytes]
"""A line as it was before it was sealed, its number, and its hash in the chain, in hex digits."""


class Form(Protocol):
    """A form of audit lines. Lines come and go without a line end, and no line holds one.

    Each begins with `beginning`.
    """

    beginning: bytes

    def convert(self, line: bytes) -> bytes:
        """A line of this form, from the JSON line, an object. It says all that the JSON line says."""

    def seal(self, line: bytes, seq: int, chain: bytes) -> bytes:
        """A line of this form with its number and its hash; `chain` has 32 hex digits."""

    def unseal(self, line: bytes) -> Unsealed | None:
        """What was sealed, whatever else the line holds; None where no seal is."""


def form_of(name: AuditFormat) -> Form:
    """The form of this name."""
    # Only here: the modules of the forms need what stands above, and one of them is used.
    match name:
        case "json":
            from sidecar.audit.forms.json_lines import JsonLines  # noqa: PLC0415

            return JsonLines()
        case "cef":
            from sidecar.audit.forms.cef import Cef  # noqa: PLC0415

            return Cef()
        case "rfc5424":
            from sidecar.audit.forms.rfc5424 import Rfc5424  # noqa: PLC0415

            return Rfc5424()
        case _:
            assert_never(name)
