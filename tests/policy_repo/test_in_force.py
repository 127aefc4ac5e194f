"""A policy that is published is in force within two seconds, and nothing that fails takes one out of force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.policy_repo.conftest import Figures
from tests.policy_repo.destinations import KINDS, Destination, Directory, Nginx
from tests.policy_repo.following import Following
from tests.policy_repo.verbs import CLOSED, OPEN, OPENED, POLICY, Key, bundle, new_key, run
from tests.support import SIDECAR
from tests.support.peer import until
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.policy_repo, pytest.mark.timeout(240)]

AT_MOST = 2.0
"""Seconds from the end of `policy publish` to the first call that is decided by what was published."""


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__.lower())
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Destination]:
    """A place to publish to."""
    with request.param(tmp_path) as place:
        yield place


def publishing(folder: Path, text: str, serial: int, key: Key, destination: Destination) -> list[str]:
    """The command that publishes a policy, as an author does; its file is there."""
    file = folder / f"policy-{serial}.tar.gz"
    file.write_bytes(bundle(text, serial, key))
    return [str(SIDECAR), "policy", "publish", str(file), destination.url]


def test_what_is_published_decides_within_two_seconds_and_so_does_a_rollback(
    destination: Destination, tmp_path: Path, key: Key, figures: Figures
) -> None:
    run(publishing(tmp_path, POLICY, 1, key, destination), tmp_path)
    opening = publishing(tmp_path, OPENED, 2, key, destination)
    back = [str(SIDECAR), "policy", "publish", "1", destination.url, "--rollback", "--key", str(key.private)]
    with Following(tmp_path, destination.url, [key]) as sidecar:
        assert sidecar.decides_as_before()
        opened = sidecar.follows(opening, tmp_path, CLOSED, permitted=True)
        closed = sidecar.follows(back, tmp_path, CLOSED, permitted=False)
        assert sidecar.decides_as_before()
        figures.note(f"published to {destination.name}: in force", str(opened))
        figures.note(f"rolled back in {destination.name}: in force", str(closed))
        (serial,) = [sample.labels["serial"] for sample in sidecar.metrics if sample.name.endswith("bundle_info")]
        assert serial == "3", "old content under a new serial"
        assert max(opened.after, closed.after) <= AT_MOST


def test_a_source_that_goes_away_leaves_the_policy_in_force_and_is_found_again_by_itself(
    destination: Destination, tmp_path: Path, key: Key
) -> None:
    destination.put(bundle(POLICY, 1, key))
    with Following(tmp_path, destination.url, [key]) as sidecar:
        destination.go_away()
        sidecar.wait_for_error("no bundle can be fetched, the policy in force stays")
        assert sidecar.decides_as_before()
        status, lines = sidecar.readyz()
        assert (status, lines[0]) == (200, "ready")
        assert any("no bundle can be fetched" in line for line in lines[1:])
        destination.come_back()
        destination.put(bundle(OPENED, 2, key))
        sidecar.wait_until(CLOSED, permitted=True)
        assert "bundles can be fetched again" in sidecar.errors


def test_a_start_without_network_takes_the_last_good_policy(destination: Destination, tmp_path: Path, key: Key) -> None:
    destination.put(bundle(POLICY, 1, key))
    with Following(tmp_path, destination.url, [key]) as sidecar:
        assert sidecar.decides_as_before()
    destination.go_away()
    with Following(tmp_path, destination.url, [key]) as sidecar:
        assert sidecar.decides_as_before()
        destination.come_back()


def test_what_was_kept_counts_only_if_it_is_signed(tmp_path: Path, key: Key, foreign: Key) -> None:
    with Nginx(tmp_path) as destination:
        destination.put(bundle(POLICY, 1, key))
        with Following(tmp_path, destination.url, [key]) as sidecar:
            assert sidecar.decides_as_before()
            state = sidecar.state
    (kept,) = (state / "bundles").glob("*.tar.gz")
    kept.write_bytes(bundle(OPENED, 2, foreign))
    with Following(tmp_path, destination.url, [key]) as sidecar:
        assert not sidecar.permits(CLOSED)
        assert not sidecar.permits(OPEN)
        assert sidecar.readyz()[0] == 503


def test_without_any_policy_everything_is_denied_until_there_is_one(
    destination: Destination, tmp_path: Path, key: Key, figures: Figures
) -> None:
    with Following(tmp_path, destination.url, [key]) as sidecar:
        assert not sidecar.permits(OPEN)
        assert not sidecar.permits(CLOSED)
        status, lines = sidecar.readyz()
        assert (status, "no policy is in force" in lines[0]) == (503, True)
        sidecar.wait_for_error("no policy is in force yet: no bundle was admitted, so every call is denied\n")
        assert "the policy in force stays" not in sidecar.errors
        first = publishing(tmp_path, POLICY, 1, key, destination)
        figures.note(
            f"the first policy in {destination.name}: in force",
            str(sidecar.follows(first, tmp_path, OPEN, permitted=True)),
        )
        assert sidecar.decides_as_before()
        until(lambda: sidecar.readyz() == (200, ["ready"]), what="ready")


def test_a_key_is_rotated_while_sidecars_run(tmp_path: Path, key: Key) -> None:
    newer = new_key(tmp_path, "newer", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    with Nginx(tmp_path) as destination:
        destination.put(bundle(POLICY, 1, key))
        with Following(tmp_path, destination.url, [key, newer]) as both:
            assert both.decides_as_before()
            destination.put(bundle(OPENED, 2, newer))
            both.wait_until(CLOSED, permitted=True)
            destination.put(bundle(POLICY, 3, key))
            both.wait_until(CLOSED, permitted=False)
        # The old key is out of use: what it signs counts no longer, and not what it signed either.
        with Following(tmp_path, destination.url, [newer], state=tmp_path / "another") as only:
            assert not only.permits(OPEN)
            destination.put(bundle(OPENED, 4, newer))
            only.wait_until(CLOSED, permitted=True)


def test_a_state_folder_that_cannot_be_written_leaves_the_policy_in_force_until_it_can(
    tmp_path: Path, key: Key
) -> None:
    with Nginx(tmp_path) as destination:
        destination.put(bundle(POLICY, 1, key))
        with Following(tmp_path, destination.url, [key]) as sidecar:
            bundles = sidecar.state / "bundles"
            for file in bundles.iterdir():
                file.unlink()
            bundles.rmdir()
            bundles.write_text("a file where the folder was")
            destination.put(bundle(OPENED, 2, key))
            sidecar.wait_for_error("cannot be kept in the state folder")
            assert sidecar.decides_as_before()
            bundles.unlink()
            sidecar.wait_until(CLOSED, permitted=True)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("http://nowhere.invalid/policy.tar.gz", "nowhere.invalid"),
        ("oci://127.0.0.1:1/team/mcp-policy", "127.0.0.1:1"),
        ("/nowhere/published", "/nowhere/published"),
    ],
)
def test_a_source_that_cannot_be_reached_is_named_in_one_line_and_what_was_kept_decides(
    source: str, said: str, tmp_path: Path, key: Key
) -> None:
    with Directory(tmp_path) as destination:
        destination.put(bundle(POLICY, 1, key))
        with Following(tmp_path, destination.url, [key]) as sidecar:
            assert sidecar.decides_as_before()
    with Following(tmp_path, source, [key]) as sidecar:
        assert sidecar.decides_as_before()
        (line,) = [line for line in sidecar.errors.splitlines() if "no bundle can be fetched" in line]
        assert said in line


def test_a_new_sidecar_takes_no_older_policy_where_the_store_is_shared(
    tmp_path: Path, key: Key, redis_server: RedisServer
) -> None:
    store = ["--state-dsn", redis_server.dsn, "--state-prefix", "policy-repo:"]
    with Directory(tmp_path) as destination:
        destination.put(bundle(POLICY, 2, key))
        with Following(tmp_path, destination.url, [key], store=store) as first:
            assert first.decides_as_before()
        destination.put(bundle(OPENED, 1, key))
        (tmp_path / "another").mkdir()
        with Following(tmp_path / "another", destination.url, [key], store=store) as second:
            second.wait_for_error("is refused (older)")
            assert not second.permits(CLOSED)
            assert second.readyz()[0] == 503
        # Without it a sidecar knows only what it saw itself: the limit that the documents name.
        with Following(tmp_path / "another", destination.url, [key]) as third:
            assert third.permits(CLOSED)


def test_without_a_key_it_is_said_that_nobodys_signature_is_checked(tmp_path: Path, foreign: Key) -> None:
    with Directory(tmp_path) as destination:
        destination.put(bundle(POLICY, 1, foreign))
        with Following(tmp_path, destination.url, []) as sidecar:
            assert "nobody's signature is checked" in sidecar.errors
            assert sidecar.decides_as_before()
