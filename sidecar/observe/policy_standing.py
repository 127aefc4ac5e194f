"""How the policy stands with this sidecar, for `sidecar status` and `/readyz`: its mode, and what is wrong with it.

A policy that is refused is only told, as are names that no tool has: the policy in force still decides.
"""

from __future__ import annotations

from collections.abc import Callable

from sidecar.events import BundleJudged, EngineReady, Handlers, Reloaded, Unchanged
from sidecar.observe.comparison import Comparison, Unmet
from sidecar.observe.log.policies import named_bundle
from sidecar.policy.model import Mode
from sidecar.policy.terms import Terms
from sidecar.text import visible


class PolicyStanding:
    """Hears of policies; `chosen` is the mode that the operator chose, where one was.

    `comparison` tells which names of the policy no tool has; it hears of events by itself.

    `changed` is called after each change of what there is to say.
    """

    def __init__(self, chosen: Mode | None, comparison: Comparison) -> None:
        comparison.told.append(self._compared)
        self.mode: Mode = chosen or "enforce"
        self.changed: Callable[[], None] = _nobody_hears
        self._chosen = chosen
        self._told: tuple[Mode, list[str]] = (self.mode, [])
        self._refused = ""
        self._unmet: tuple[Unmet, ...] = ()
        self.handlers: Handlers = {
            EngineReady: self._engine_ready, Reloaded: self._reloaded, Unchanged: self._unchanged,
            BundleJudged: self._bundle_judged,
        }  # fmt: skip

    def mute(self) -> None:
        """Tell nobody of changes any more."""
        self.changed = _nobody_hears

    def notes(self) -> list[str]:
        """What an operator should know of the policy, a line each."""
        return [*([self._refused] if self._refused else ()), *(one.text for one in self._unmet)]

    def follow(self, terms: Terms) -> None:
        """The policy with these terms is in force."""
        self.mode = terms.mode(self._chosen)
        self._tell()

    def _engine_ready(self, event: EngineReady) -> None:
        self.follow(event.terms)

    def _compared(self, unmet: tuple[Unmet, ...]) -> None:
        self._unmet = unmet
        self._tell()

    def _reloaded(self, event: Reloaded) -> None:
        self._refuse("" if event.accepted else f"the changed policy is refused: {visible(event.text)}")

    def _unchanged(self, _: Unchanged) -> None:
        self._refuse("")

    def _bundle_judged(self, event: BundleJudged) -> None:
        why = f"{named_bundle(event)} is refused ({event.refused}): {visible(event.text)}"
        self._refuse(why if event.refused else "")

    def _refuse(self, why: str) -> None:
        self._refused = why
        self._tell()

    def _tell(self) -> None:
        """Say so where there is something else to say: a server may change its list with each answer."""
        if (now := (self.mode, self.notes())) != self._told:
            self._told = now
            self.changed()


def _nobody_hears() -> None:
    """Nobody asked to be told yet."""
