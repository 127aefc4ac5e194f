"""Secrets that our environment holds, taken out of it when they are first used: children must not inherit them."""

from __future__ import annotations

import os

from sidecar.system import hardening


class TakenSecrets:
    """Keeps what it took: whoever asks again gets the same."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def take(self, name: str) -> str:
        """The value of a variable, empty where it was never set; from now on only we have it."""
        if name in os.environ:
            self._taken[name] = os.environ[name]
            hardening.forget(name)
        return self._taken.get(name, "")
