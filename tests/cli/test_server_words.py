"""Where our words end and the server's begin: what could be either is refused, and nothing is started."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from sidecar.cli import app, run
from sidecar.errors import UsageError
from sidecar.settings import Settings


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    found: list[Settings] = []
    monkeypatch.setattr(run, "_serve", lambda settings, opa_bin: found.append(settings))
    return found


def invoke(words: str, **env: str) -> BaseException | None:
    return CliRunner().invoke(app, words.split(), env=env).exception


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("run -c p.yaml server --mode monitor", "--mode"),
        ("-c p.yaml server --mode=monitor", "--mode"),
        ("run -c p.yaml server --audit off", "--audit"),
        ("run -c p.yaml python s.py --transport http --port 0", "--transport"),
        ("run -c p.yaml npx -y server", "-y"),
        ("run -c p.yaml server --token=secret", "--token"),
        ("run -c p.yaml server -psecret", "-p"),
        ("run -c p.yaml server --help", "--help"),
        ("run server -c q.yaml", "-c"),
    ],
)
def test_an_option_after_the_server_without_a_separator_is_taken_for_nobodys(
    words: str, option: str, ran: list[Settings]
) -> None:
    problem = invoke(words, SIDECAR_CONFIG="other.yaml")
    assert isinstance(problem, UsageError)
    assert str(problem).startswith(f"{option} after ")
    assert "secret" not in str(problem)
    assert ran == []


@pytest.mark.parametrize("stray", ["p.yaml", "policies/", "uv run"])
def test_a_word_before_the_separator_that_is_no_option_is_refused(stray: str, ran: list[Settings]) -> None:
    problem = invoke(f"run {stray} -- server --flag", SIDECAR_CONFIG="other.yaml")
    assert isinstance(problem, UsageError)
    assert str(problem).startswith(f"{stray.split(maxsplit=1)[0]} stands before --: ")
    assert ran == []


@pytest.mark.parametrize("option", ["--config", "--server", "--state-dir", "--audit", "--mode"])
def test_an_option_without_its_value_does_not_take_the_separator(option: str, ran: list[Settings]) -> None:
    problem = invoke(f"run {option} -- server", SIDECAR_CONFIG="other.yaml")
    assert isinstance(problem, UsageError)
    assert str(problem) == f"{option} has no value before --: write one, or leave the option out"
    assert ran == []


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("run -c p.yaml server", ("server",)),
        ("-c p.yaml npx server", ("npx", "server")),
        ("run -c p.yaml -- server --mode monitor -c x", ("server", "--mode", "monitor", "-c", "x")),
        ("run -c p.yaml -- uv run -- server --flag", ("uv", "run", "--", "server", "--flag")),
        ("run -c p.yaml -- -- server", ("--", "server")),
    ],
)
def test_what_follows_the_separator_is_the_servers_every_word(
    words: str, command: tuple[str, ...], ran: list[Settings]
) -> None:
    assert invoke(words) is None
    assert [(settings.command, settings.mode) for settings in ran] == [(command, None)]
