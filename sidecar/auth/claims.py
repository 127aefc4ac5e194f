"""The claims of a verified JWT: whether it is for us, about a caller, and valid now (RFC 7519, section 4; RFC 8725)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sidecar.auth.refusal import Rejected

LEEWAY: Final = 30.0
"""Seconds by which the issuer's clock may differ from ours."""
MAX_SUBJECT: Final = 256


@dataclass(frozen=True, slots=True)
class Expected:
    """The issuer and the audience that a token for us names."""

    issuer: str
    audience: str

    def check(self, claims: Mapping[str, Any], now: float) -> Rejected | None:
        """None for valid claims; `exp`, `iat`, `iss`, `aud` and `sub` are all required."""
        if claims.get("iss") != self.issuer:
            return Rejected("the token is from another issuer")
        if self.audience not in _audiences(claims.get("aud")):
            return Rejected("the token is for another audience")
        subject = claims.get("sub")
        if type(subject) is not str or not 0 < len(subject) <= MAX_SUBJECT:
            return Rejected(f"the token's sub must be a text of 1 to {MAX_SUBJECT} characters")
        return _in_time(claims, now)


def _audiences(aud: Any) -> list[str]:
    """The audiences; an empty list if one of them is no text."""
    listed = aud if type(aud) is list else [aud]
    return listed if all(type(one) is str for one in listed) else []


def _in_time(claims: Mapping[str, Any], now: float) -> Rejected | None:
    expires, issued = seconds(claims.get("exp")), seconds(claims.get("iat"))
    if expires is None or issued is None:
        return Rejected("the token's exp and iat must be numbers")
    begins = seconds(claims.get("nbf", issued))
    if begins is None:
        return Rejected("the token's nbf must be a number")
    if now >= expires + LEEWAY:
        return Rejected("the token has expired")
    if now < max(issued, begins) - LEEWAY:
        return Rejected("the token is not valid yet")
    return None


def seconds(date: Any) -> float | None:
    """The seconds since the epoch of a NumericDate; None for anything else. `Raw` is a number as it was written."""
    if type(date) is msgspec.Raw:
        date = float(bytes(date))
    if type(date) not in (int, float):
        return None
    return float(date) if math.isfinite(date) else None
