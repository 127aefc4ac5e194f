"""`sidecar run` up to where it would run."""

from __future__ import annotations

import os
import signal

import pytest

from sidecar.cli import run as run_module
from sidecar.engine import binary
from sidecar.serve import app as running
from sidecar.settings import Settings


@pytest.fixture
def inherited() -> set[str]:
    """The variables that a server would get which `sidecar run` starts."""
    return set()


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, inherited: set[str]) -> list[Settings]:
    """What `sidecar run` would run by."""
    settings: list[Settings] = []

    def run(given: Settings, *_: object) -> int:
        settings.append(given)
        inherited.update(os.environ)
        return 0

    monkeypatch.setattr(running, "run", run)
    monkeypatch.setattr(run_module, "prepare", lambda *_, **__: (None, []))
    monkeypatch.setattr(run_module, "first_look", lambda config: ())
    monkeypatch.setattr(binary, "find", lambda path: None)
    monkeypatch.setattr(run_module, "set_up_logging", lambda level, form: None)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    return settings
