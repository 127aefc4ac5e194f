"""The OPA of a pod, which the sidecar did not start, decides by what is published; while it is away, nothing passes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.policy_repo.destinations import Directory
from tests.policy_repo.following import Following
from tests.policy_repo.verbs import CLOSED, OPEN, OPENED, POLICY, Key, bundle
from tests.support.peer import until
from tests.support.pod_opa import PodOpa

pytestmark = [pytest.mark.policy_repo, pytest.mark.timeout(240)]


@pytest.fixture
def opa(tmp_path: Path) -> Iterator[PodOpa]:
    """An OPA as the pod's manifest starts it."""
    found = PodOpa(tmp_path)
    yield found
    found.kill()


def test_what_is_published_reaches_the_opa_of_a_pod_even_if_it_was_away(tmp_path: Path, opa: PodOpa, key: Key) -> None:
    opa.start()
    with Directory(tmp_path) as destination:
        destination.put(bundle(POLICY, 1, key))
        with Following(tmp_path, destination.url, [key], *opa.options) as sidecar:
            until(lambda: sidecar.permits(OPEN), what="a policy in the OPA of the pod")
            assert sidecar.decides_as_before()
            assert sidecar.children("--server") == []
            opa.kill()
            destination.put(bundle(OPENED, 2, key))
            for _ in range(10):
                assert not sidecar.permits(OPEN)
                assert not sidecar.permits(CLOSED)
            opa.start()
            sidecar.wait_until(CLOSED, permitted=True)
            until(lambda: sidecar.readyz() == (200, ["ready"]), what="ready")
