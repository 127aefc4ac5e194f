"""Alerts that reach a person: from the sidecar by Prometheus and Alertmanager to a webhook."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.observability.conftest import Watched
from tests.observability.not_fired import BY_THE_MACHINE, NOT_FIRED
from tests.observability.queries import rules
from tests.support.peer import until
from tests.support.prometheus import LINES

pytestmark = pytest.mark.observability

FIRE = rules("alert").keys() - NOT_FIRED.keys() - BY_THE_MACHINE.keys()
SERVERS = {("shop", "shop"), ("desk", "desk"), ("desk", "till")}


@pytest.mark.parametrize("line", LINES)
def test_every_alert_that_the_script_brings_about_reaches_the_webhook(watched: Watched, line: str) -> None:
    with suppress(TimeoutError):  # what did not come is said below
        until(lambda: watched.alerts(line).keys() >= FIRE)
    assert sorted(FIRE - watched.alerts(line).keys()) == []


@pytest.mark.parametrize("line", LINES)
def test_what_reaches_the_webhook_says_where_and_what_to_do(watched: Watched, line: str) -> None:
    for name, alerts in watched.alerts(line).items():
        shipped = rules("alert")[name]
        for alert in alerts:
            assert alert["labels"]["severity"] == shipped["labels"]["severity"]
            assert (alert["labels"]["namespace"], alert["labels"]["server"]) in SERVERS
            # A template that cannot be filled in says so in its text.
            assert "error expanding" not in str(alert["annotations"])
            assert "<no value>" not in str(alert["annotations"])
            assert alert["annotations"]["runbook"] == shipped["annotations"]["runbook"]


def test_what_cannot_fire_here_is_an_alert() -> None:
    assert NOT_FIRED.keys() | BY_THE_MACHINE.keys() <= rules("alert").keys()


@pytest.mark.parametrize("line", LINES)
def test_what_is_said_not_to_fire_does_not(watched: Watched, line: str) -> None:
    assert not watched.alerts(line).keys() & NOT_FIRED.keys()
