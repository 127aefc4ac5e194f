"""A flag wins: which variables give way to the command line, which never do, and that it is said."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sidecar.cli import app
from sidecar.cli.precedence import ABOUT, PAIRS, STAYS, giving_way, warnings
from sidecar.errors import UsageError
from sidecar.settings import Settings
from tests.engine.policy_keys import RSA, public_pem

URL = "http://server.example/mcp"
DSN = "redis://:hunter2@store.example"
SIDES = [(winner, loser) for pair in PAIRS for winner, loser in (pair, pair[::-1]) if loser != STAYS]


def run(*words: str, **env: str) -> BaseException | None:
    """What `sidecar run` raises."""
    return CliRunner().invoke(app, ["run", *words], env=env).exception


# The pairs.


@pytest.mark.parametrize(("winner", "loser"), SIDES)
def test_a_variable_gives_way_only_to_the_command_line(winner: str, loser: str) -> None:
    assert giving_way({winner}, {loser}, signed=False) == {loser: winner}
    assert giving_way({winner, loser}, set(), signed=False) == {}
    assert giving_way(set(), {winner, loser}, signed=False) == {}
    assert giving_way({winner}, set(), signed=False) == {}


@pytest.mark.parametrize(("about", "names"), ABOUT.items())
def test_who_writes_an_option_about_the_other_side_means_that_too(about: str, names: frozenset[str]) -> None:
    (winner,) = (winner for winner, loser in SIDES if loser == about)
    for name in names:
        assert giving_way({winner, name}, {about}, signed=False) == {}


def test_no_bundle_gives_way_where_a_signature_is_asked_for() -> None:
    assert giving_way({"config", "command"}, {"bundle", "upstream"}, signed=True) == {"upstream": "command"}
    # Files give way: what takes their place is signed.
    assert giving_way({"bundle"}, {"config"}, signed=True) == {"config": "bundle"}


def test_what_gives_way_is_said_by_names_alone() -> None:
    assert list(warnings({"bundle": "config", "upstream": "command"})) == [
        "SIDECAR_BUNDLE gives way to -c, which stands on the command line",
        "SIDECAR_UPSTREAM gives way to a command after --, which stands on the command line",
    ]


# The whole command.


def test_the_command_line_is_run_whatever_the_environment_has_for_other_sidecars(
    ran: list[Settings], inherited: set[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    env = {"SIDECAR_BUNDLE": f"{URL}?sig=hunter2", "SIDECAR_UPSTREAM": f"{URL}?key=hunter2"}
    with caplog.at_level(logging.WARNING):
        assert run("-c", "policy.yaml", "--state-dir", str(tmp_path), "--", "server", **env) is None
    [settings] = ran
    assert (settings.bundle, settings.upstream) == (None, None)
    assert (settings.command, settings.server, settings.state_dir) == (("server",), "server", tmp_path)
    said = [record.getMessage() for record in caplog.records if "gives way" in record.getMessage()]
    assert sorted(line.partition(" ")[0] for line in said) == sorted(env)
    assert "hunter2" not in caplog.text
    # The server must not get what may be secret.
    assert not set(env) & inherited


def test_a_bundle_of_the_command_line_is_verified_by_the_key_of_the_environment(
    ran: list[Settings], tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    key.write_text(public_pem(RSA))
    env = {"SIDECAR_CONFIG": "policy.yaml", "SIDECAR_BUNDLE_KEY": str(key)}
    assert run("--bundle", str(tmp_path), "--", "server", **env) is None
    assert [settings.bundle.keys for settings in ran if settings.bundle] == [(public_pem(RSA),)]


@pytest.mark.parametrize("key", ["key.pem", ""])
def test_files_take_no_bundles_place_where_the_environment_asks_for_a_signature(key: str, ran: list[Settings]) -> None:
    env = {"SIDECAR_BUNDLE": "bundle.tar.gz", "SIDECAR_BUNDLE_KEY": key}
    problem = run("-c", "policy.yaml", "--", "server", **env)
    assert isinstance(problem, UsageError)
    assert str(problem).startswith("two policies: SIDECAR_BUNDLE_KEY asks for a signed bundle")
    assert ran == []


def test_a_folder_takes_no_shared_stores_place(ran: list[Settings], tmp_path: Path) -> None:
    problem = run("-c", "p.yaml", "--state-dir", str(tmp_path), "--server", "s", "--", "server", SIDECAR_STATE_DSN=DSN)
    assert isinstance(problem, UsageError)
    assert str(problem).startswith("counters are kept in one place")
    assert ran == []


def test_a_key_alone_is_not_passed_over_either(ran: list[Settings]) -> None:
    problem = run("-c", "policy.yaml", "--", "server", SIDECAR_BUNDLE_KEY="key.pem")
    assert isinstance(problem, UsageError)
    assert ran == []


def test_a_store_of_the_command_line_leaves_the_folder_of_the_environment_its_audit_log(
    ran: list[Settings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ("-c", "policy.yaml", "--state-dsn", DSN, "--server", "s", "--", "server")
    assert run(*words, SIDECAR_STATE_DIR=str(tmp_path)) is None
    assert [(settings.state_dsn, settings.state_dir) for settings in ran] == [(DSN, tmp_path)]
    assert "SIDECAR_STATE_DIR gives way to --state-dsn" in caplog.text
    assert "the folder is used for the audit log only" in caplog.text


WRITTEN = {
    "two policies": (("-c", "p.yaml"), ("--bundle", "b"), ("--", "server")),
    "counters are kept in one place": (("--state-dir", "s"), ("--state-dsn", DSN), ("-c", "p.yaml", "--", "server")),
    "two MCP servers": (("-c", "p.yaml"), ("--upstream", URL), ("--", "server")),
}
VARIABLES = {
    "two policies": {"SIDECAR_CONFIG": "p.yaml", "SIDECAR_BUNDLE": "b"},
    "counters are kept in one place": {"SIDECAR_STATE_DIR": "s", "SIDECAR_STATE_DSN": DSN},
}


@pytest.mark.parametrize(("said", "words"), WRITTEN.items())
def test_two_on_the_command_line_are_wrong_usage(
    said: str, words: tuple[tuple[str, ...], ...], ran: list[Settings]
) -> None:
    problem = run(*itertools.chain(*words))
    assert isinstance(problem, UsageError)
    assert said in str(problem)
    assert ran == []


@pytest.mark.parametrize(("said", "env"), VARIABLES.items())
def test_two_in_the_environment_are_wrong_usage(said: str, env: dict[str, str], ran: list[Settings]) -> None:
    words = ("-c", "p.yaml") if "SIDECAR_CONFIG" not in env else ()
    problem = run(*words, "--", "server", **env)
    assert isinstance(problem, UsageError)
    assert said in str(problem)
    assert ran == []


def test_headers_that_are_written_mean_the_remote_server_of_the_environment(ran: list[Settings]) -> None:
    words = ("-c", "p.yaml", "--header", "A: b")
    assert run(*words, SIDECAR_UPSTREAM=URL) is None
    assert [settings.upstream.url for settings in ran if settings.upstream] == [URL]
    assert "two MCP servers" in str(run(*words, "--", "server", SIDECAR_UPSTREAM=URL))
