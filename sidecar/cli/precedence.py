"""A flag wins: of two options of which one may be given, the variable of one gives way to the other that is written.

Where neither is written, or both are, nothing gives way, and the two are wrong usage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

PAIRS: Final = (("config", "bundle"), ("state_dir", "state_dsn"), ("command", "upstream"))
"""Options of which one may be given."""

ABOUT: Final[Mapping[str, frozenset[str]]] = {
    "bundle": frozenset({"bundle_key", "bundle_interval"}),
    "upstream": frozenset({"header", "forward_authorization", "forward_header"}),
}
"""Options about one of these: who writes one of them means that one too."""

STAYS: Final = "state_dsn"
"""Gives way to nothing. A folder may be meant for the audit log alone, and a shared limit would become many."""

_FLAGS: Final = {"config": "-c", "command": "a command after --"}


def giving_way(written: Collection[str], variables: Collection[str], *, signed: bool) -> dict[str, str]:
    """The options whose variables give way, each with the one that is written.

    `written` are the options of the command line, `variables` those that the environment sets. With `signed` the
    environment asks for a policy that somebody signed: then no bundle gives way, since files have no signature.
    """
    found = {}
    for one, other in PAIRS:
        for winner, loser in ((one, other), (other, one)):
            meant = {loser} | ABOUT.get(loser, frozenset())
            if loser != STAYS and winner in written and loser in variables and meant.isdisjoint(written):
                found[loser] = winner
    if signed:
        found.pop("bundle", None)
    return found


def warnings(found: Mapping[str, str]) -> Iterator[str]:
    """What to say of the variables that give way."""
    for loser, winner in found.items():
        variable, flag = f"SIDECAR_{loser.upper()}", _FLAGS.get(winner, f"--{winner.replace('_', '-')}")
        # The folder has more in it than counters.
        rest = ", and the folder is used for the audit log only" if loser == "state_dir" else ""
        yield f"{variable} gives way to {flag}, which stands on the command line{rest}"
