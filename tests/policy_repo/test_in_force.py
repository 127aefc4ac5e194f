"""A policy that is published is in force within two seconds, and nothing that fails takes one out of force."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.policy_repo.conftest import Figures
from tests.policy_repo.destinations import KINDS, Destination, Nginx
from tests.policy_repo.following import Following
from tests.policy_repo.verbs import CLOSED, OPEN, OPENED, POLICY, Key, built, new_key, policy, written
from tests.support.peer import SECONDS, denied, until

pytestmark = [pytest.mark.policy_repo, pytest.mark.timeout(240)]

AT_MOST = 2.0
"""Seconds from the end of `policy publish` to the first call that is decided by what was published."""


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__.lower())
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Destination]:
    """A place to publish to."""
    with request.param(tmp_path) as place:
        yield place


def publish(folder: Path, text: str, serial: int, key: Key, destination: Destination) -> None:
    """Build a policy and publish it, as an author does."""
    file = folder / f"policy-{serial}.tar.gz"
    built(written(folder / "repository", text), file, serial, key)
    policy("publish", str(file), destination.url, cwd=folder)


def test_what_is_published_decides_within_two_seconds_and_so_does_a_rollback(
    destination: Destination, tmp_path: Path, key: Key, figures: Figures
) -> None:
    publish(tmp_path, POLICY, 1, key, destination)
    with Following(tmp_path, destination.url, [key]) as sidecar:
        assert sidecar.decides_as_before()
        publish(tmp_path, OPENED, 2, key, destination)
        opened = sidecar.seconds_until(CLOSED, permitted=True)
        policy("publish", "1", destination.url, "--rollback", "--key", str(key.private), cwd=tmp_path)
        closed = sidecar.seconds_until(CLOSED, permitted=False)
        assert sidecar.decides_as_before()
        figures.note(f"published to {destination.name}: in force after", f"{opened:.2f} s")
        figures.note(f"rolled back in {destination.name}: in force after", f"{closed:.2f} s")
        (serial,) = [sample.labels["serial"] for sample in sidecar.metrics if sample.name.endswith("bundle_info")]
        assert serial == "3", "old content under a new serial"
        assert max(opened, closed) <= AT_MOST


def test_a_source_that_goes_away_leaves_the_policy_in_force_and_is_found_again_by_itself(
    destination: Destination, tmp_path: Path, key: Key
) -> None:
    publish(tmp_path, POLICY, 1, key, destination)
    with Following(tmp_path, destination.url, [key]) as sidecar:
        destination.go_away()
        sidecar.wait_for_error("no bundle can be fetched, the policy in force stays")
        assert sidecar.decides_as_before()
        status, lines = sidecar.readyz()
        assert (status, lines[0]) == (200, "ready")
        assert any("no bundle can be fetched" in line for line in lines[1:])
        destination.come_back()
        publish(tmp_path, OPENED, 2, key, destination)
        sidecar.seconds_until(CLOSED, permitted=True)
        assert "bundles can be fetched again" in sidecar.errors


def test_a_start_without_network_takes_the_last_good_policy(destination: Destination, tmp_path: Path, key: Key) -> None:
    publish(tmp_path, POLICY, 1, key, destination)
    with Following(tmp_path, destination.url, [key]) as sidecar:
        assert sidecar.decides_as_before()
    destination.go_away()
    with Following(tmp_path, destination.url, [key]) as sidecar:
        assert sidecar.decides_as_before()
        destination.come_back()


def test_what_was_kept_counts_only_if_it_is_signed(tmp_path: Path, key: Key, foreign: Key) -> None:
    with Nginx(tmp_path) as destination:
        publish(tmp_path, POLICY, 1, key, destination)
        with Following(tmp_path, destination.url, [key]) as sidecar:
            assert sidecar.decides_as_before()
            state = sidecar.state
    (kept,) = (state / "bundles").glob("*.tar.gz")
    opening = built(written(tmp_path / "opening", OPENED), tmp_path / "opening.tar.gz", 2, foreign)
    kept.write_bytes(opening)
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
        publish(tmp_path, POLICY, 1, key, destination)
        seconds = sidecar.seconds_until(OPEN, permitted=True)
        figures.note(f"the first policy in {destination.name}: in force after", f"{seconds:.2f} s")
        assert sidecar.decides_as_before()
        until(lambda: sidecar.readyz() == (200, ["ready"]), what="ready")


def test_a_key_is_rotated_while_sidecars_run(tmp_path: Path, key: Key) -> None:
    newer = new_key(tmp_path, "newer", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    with Nginx(tmp_path) as destination:
        publish(tmp_path, POLICY, 1, key, destination)
        with Following(tmp_path, destination.url, [key, newer]) as both:
            assert both.decides_as_before()
            publish(tmp_path, OPENED, 2, newer, destination)
            both.seconds_until(CLOSED, permitted=True)
            publish(tmp_path, POLICY, 3, key, destination)
            both.seconds_until(CLOSED, permitted=False)
        # The old key is out of use: what it signs counts no longer, and not what it signed either.
        with Following(tmp_path, destination.url, [newer], state=tmp_path / "another") as only:
            assert not only.permits(OPEN)
            publish(tmp_path, OPENED, 4, newer, destination)
            only.seconds_until(CLOSED, permitted=True)


def test_a_full_disk_leaves_the_policy_in_force(tmp_path: Path, key: Key) -> None:
    with Nginx(tmp_path) as destination:
        publish(tmp_path, POLICY, 1, key, destination)
        with Following(tmp_path, destination.url, [key]) as sidecar:
            bundles = sidecar.state / "bundles"
            for file in bundles.iterdir():
                file.unlink()
            bundles.rmdir()
            bundles.write_text("a file where the folder was")
            publish(tmp_path, OPENED, 2, key, destination)
            sidecar.wait_for_error("cannot be kept in the state folder")
            assert sidecar.decides_as_before()
            bundles.unlink()
            began = time.monotonic()
            sidecar.seconds_until(CLOSED, permitted=True)
            assert time.monotonic() - began < SECONDS, "it is tried again by itself"


def test_a_call_is_told_why_nothing_is_permitted_yet(tmp_path: Path, key: Key) -> None:
    with Nginx(tmp_path) as destination, Following(tmp_path, destination.url, [key]) as sidecar:
        assert denied(sidecar.call(OPEN, {})) is not None
        assert sidecar.received == []
