"""How the policy stands with this sidecar, for `sidecar status` and `/readyz`: its mode, and what is wrong with it.

A policy that is refused is only told, as are tools that the server lacks: the policy in force still decides.
"""

from __future__ import annotations

from collections.abc import Callable

from sidecar.events import BundleJudged, EngineReady, Handlers, Listed, Reloaded, Unchanged
from sidecar.observe.log.policies import named_bundle, named_missing
from sidecar.policy.model import Mode
from sidecar.policy.terms import Terms
from sidecar.text import visible


class PolicyStanding:
    """Hears of policies and of lists of tools; `chosen` is the mode that the operator chose, where one was.

    `changed` is called after each change of what there is to say.
    """

    def __init__(self, chosen: Mode | None) -> None:
        self.mode: Mode = chosen or "enforce"
        self.changed: Callable[[], None] = _nobody_hears
        self._chosen = chosen
        self._told: tuple[Mode, list[str]] = (self.mode, [])
        self._refused = ""
        self._named: frozenset[str] = frozenset()
        self._listed: frozenset[str] | None = None
        self.handlers: Handlers = {
            EngineReady: self._engine_ready, Reloaded: self._reloaded, Unchanged: self._unchanged,
            BundleJudged: self._bundle_judged, Listed: self._listed_tools,
        }  # fmt: skip

    def mute(self) -> None:
        """Tell nobody of changes any more."""
        self.changed = _nobody_hears

    def notes(self) -> list[str]:
        """What an operator should know of the policy, a line each."""
        missing = self._named - self._listed if self._listed is not None else frozenset()
        return [note for note in (self._refused, named_missing(missing) if missing else "") if note]

    def follow(self, terms: Terms) -> None:
        """The policy with these terms is in force."""
        self.mode = terms.mode(self._chosen)
        self._named = terms.tools
        self._tell()

    def _engine_ready(self, event: EngineReady) -> None:
        self.follow(event.terms)

    def _listed_tools(self, event: Listed) -> None:
        if event.whole:
            self._listed = frozenset(event.tools)
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
