"""Two sidecars that count in one Redis, in front of one server."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.listener import Listener, everything, sidecar
from tests.support.peer import SECONDS


@contextmanager
def two_sidecars(folder: Path, policy: str, *options: str) -> Iterator[tuple[Listener, Listener]]:
    """Two sidecars in front of one server on HTTP."""
    with ExitStack() as stack:
        server = stack.enter_context(Listener(everything("http"), folder))

        def start(name: str) -> Listener:
            command = sidecar(folder / name, policy, "--transport", "http", "--port", "0", "--upstream", server.url)
            # Counters are kept in one place: the folder that `sidecar` gives it is not wanted.
            at = command.index("--state-dir")
            del command[at : at + 2]
            where = {"XDG_STATE_HOME": str(folder / name)}
            return stack.enter_context(Listener([*command, *options], folder / name, where))

        yield start("one"), start("other")


def decisions(listener: Listener) -> float:
    """How many calls a sidecar decided."""
    return metric(listener, "decisions_total")


def metric(listener: Listener, name: str) -> float:
    """The sum of a metric's series."""
    found = re.search(r"telemetry on (http://\S+)", listener.errors)
    assert found is not None
    with urllib.request.urlopen(found[1], timeout=SECONDS) as reply:
        families = text_string_to_metric_families(reply.read().decode())
        return sum(one.value for family in families for one in family.samples if one.name == f"mcp_policy_{name}")
