"""All metrics of one sidecar, and how they are served. Label values are bounded: see `names` and `instruments`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder

from sidecar import __version__
from sidecar.events import EngineReady, Event, Handlers
from sidecar.ledger.protocol import Ledger
from sidecar.observe.metrics.approvals import ApprovalMetrics
from sidecar.observe.metrics.calls import CallMetrics
from sidecar.observe.metrics.components import Components
from sidecar.observe.metrics.foreseen import Chosen, Foreseen, Foresight
from sidecar.observe.metrics.instruments import OTHER, Instruments
from sidecar.observe.metrics.limits import LimitMetrics
from sidecar.observe.metrics.names import Names
from sidecar.observe.metrics.policies import PolicyMetrics
from sidecar.observe.metrics.rules import RuleMetrics
from sidecar.observe.metrics.running import RunningMetrics
from sidecar.observe.metrics.standing import keep_reading
from sidecar.observe.metrics.upstream import UpstreamMetrics
from sidecar.policy.terms import Terms


class Metrics:
    """All metrics of one sidecar, in a registry of their own; `clock` gives Unix seconds.

    `chose` is what the operator chose, as far as it decides what calls can get.
    """

    def __init__(
        self, server: str, opa_version: str, clock: Callable[[], float] = time.time, chose: Chosen | None = None
    ) -> None:  # fmt: skip
        self.registry = CollectorRegistry()
        self._chose = chose or Chosen()
        self._clock = clock
        made = Instruments(self.registry, "mcp_policy_", ("server",))
        self._names = Names()
        self._rules = RuleMetrics(made, server, self._names)
        self._limits = LimitMetrics(made, server, self._names, self._rules, clock)
        self._policy = PolicyMetrics(made, server)
        components = Components(made, server, clock)
        self._calls = CallMetrics(made, server, self._names, self._rules, self._limits, components, clock)
        running = RunningMetrics(made, server)
        self.audit = running.audit
        self._in_force = ("", 0)
        self._upstream = UpstreamMetrics(made, server, self._names, self._limits, components, clock)
        approvals = ApprovalMetrics(made, server)
        build = Info(
            "mcp_policy_build", "What is running: the version of the sidecar and of OPA.", registry=self.registry
        )
        build.info({"version": __version__, "opa": opa_version})
        ProcessCollector(registry=self.registry)
        self.handlers: Handlers = _together(
            {EngineReady: self._activate}, self._calls.handlers, self._policy.handlers,
            components.handlers, self._upstream.handlers, running.handlers, approvals.handlers,
        )  # fmt: skip

    async def follow(self, ledger: Ledger) -> None:
        """Look without end where limits stand in the store."""
        await keep_reading(self._limits, ledger, self._clock)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that an Accept header asks for, and its content type."""
        encode: Callable[[CollectorRegistry], bytes]
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):
            # The library compares versions in the header, which may be no numbers.
            encode, content_type = choose_encoder("")
        return encode(self.registry), content_type

    def _activate(self, event: EngineReady) -> None:
        if (event.revision, event.serial) == self._in_force:
            return
        self._in_force = (event.revision, event.serial)
        self._names.activate(event.terms)
        self._rules.activate(event.terms)
        self._limits.activate(event.terms)
        foresight = Foresight(event.terms, event.serial, self._chose)
        foreseen = self._foreseen(foresight, event.terms)
        self._calls.activate(foresight, foreseen)
        self._upstream.activate(label for label, find in foreseen.items() if foresight.forwards(find()))
        self._policy.activate(event)

    def _foreseen(self, foresight: Foresight, terms: Terms) -> Mapping[str, Callable[[], Iterator[Foreseen]]]:
        """By the label of a tool what its calls can get: of tools that the policy names, and of all others as one."""
        known = [tool for tool in sorted(terms.tools) if self._names.knows(tool)][: foresight.most_tools]
        return {OTHER: foresight.of_others} | {self._names.tool(tool): partial(foresight.of, tool) for tool in known}


def _together(*parts: Handlers) -> Handlers:
    """The handlers of several listeners as those of one."""
    heard: dict[type[Event], list[Callable[[Any], None]]] = {}
    for part in parts:
        for kind, hear in part.items():
            heard.setdefault(kind, []).append(hear)
    return {kind: hears[0] if len(hears) == 1 else partial(_all, hears) for kind, hears in heard.items()}


def _all(hears: Sequence[Callable[[Any], None]], event: Event) -> None:
    for hear in hears:
        hear(event)
