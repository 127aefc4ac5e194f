"""The scripted traffic, watched by Prometheus, an Alertmanager and a log store: once, for all tests here."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pytest

from programs.traffic.places import World, world
from programs.traffic.script import LENGTH, Script
from tests.observability.queries import RULES, hurried
from tests.support.log_store import LogStore, log_store
from tests.support.peer import until
from tests.support.prometheus import LINES, Prometheus, Target, alertmanager, prometheus
from tests.support.receiver import Receiver, receiving, status

SECONDS: Final = float(os.environ.get("OBSERVABILITY_SECONDS", LENGTH))
"""How long the script takes; less for whoever writes a test here."""
PATIENCE: Final = 420
"""Seconds that the first test may take: it waits for the script."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen. `start` and `end` are Unix times around the script."""

    world: World
    servers: dict[str, Prometheus]
    start: float
    end: float
    store: LogStore
    told: Receiver

    def alerts(self, line: str) -> dict[str, list[dict[str, Any]]]:
        """Every alert that reached the webhook from a line of Prometheus, by its name."""
        found: dict[str, list[dict[str, Any]]] = {}
        for got in list(self.told.got):
            for alert in json.loads(got.body)["alerts"]:
                if alert["labels"]["prometheus"] == line:
                    found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Run the script, and keep everything that watched it until the last test is over."""
    folder = tmp_path_factory.mktemp("watched")
    (folder / "traffic").mkdir()
    (folder / "rules.yaml").write_text(hurried(RULES.read_text(encoding="utf-8")), encoding="utf-8")
    with ExitStack() as running:
        store = running.enter_context(log_store(folder / "logs"))
        told = running.enter_context(receiving(status(200)))
        alerts = running.enter_context(alertmanager(folder / "alerts", told.url))
        places = running.enter_context(world(folder / "traffic"))
        targets = [Target(place.telemetry, place.namespace, place.pod) for place in places.places]
        servers = {
            line: running.enter_context(prometheus(line, folder / line, targets, [folder / "rules.yaml"], alerts))
            for line in LINES
        }
        start = time.time()
        for server in servers.values():
            _scraped_since(server, start, len(targets))
        Script(places, SECONDS, lambda line: print(line, flush=True)).run()
        end = time.time()
        for server in servers.values():
            _scraped_since(server, end, len(targets))
        # Sidecars of one server share a state folder.
        for state, namespace in {(place.state, place.namespace) for place in places.places}:
            for file in sorted((state / "events").glob("*.jsonl")):
                store.ship(file, namespace)
        yield Watched(places, servers, start, end, store, told)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first waits for the script."""
    for item in items:
        if "watched" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(PATIENCE))


def _scraped_since(server: Prometheus, moment: float, count: int) -> None:
    """Wait until each target was looked at since a Unix time."""

    def looked() -> bool:
        times = [datetime.fromisoformat(found["lastScrape"]).timestamp() for found in server.targets()]
        return len(times) == count and min(times) > moment

    until(looked, what=f"a look of Prometheus {server.line} at every sidecar")
