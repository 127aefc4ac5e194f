"""Whoever can write where sidecars look for policy cannot change one decision without the key."""

from __future__ import annotations

import gzip
import random
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.policy_repo.conftest import Figures
from tests.policy_repo.destinations import KINDS, Destination, Directory
from tests.policy_repo.following import Following
from tests.policy_repo.forging import ATTACKS, IN_FORCE, Attack, packed, signed_by, unpacked
from tests.policy_repo.verbs import CLOSED, OPENED, POLICY, Key, bundle
from tests.support.peer import until

pytestmark = [pytest.mark.policy_repo, pytest.mark.timeout(240)]

QUICK = ("--bundle-interval", "100ms")
SECONDS_OF_MUTATIONS = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """A sidecar under attack: where its policy comes from, and the bundle that would change a decision."""

    destination: Destination
    sidecar: Following
    opening: bytes


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__.lower())
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, key: Key) -> Iterator[Target]:
    """One for each kind of source."""
    folder = tmp_path_factory.mktemp("attacked")
    with request.param(folder) as destination:
        destination.put(bundle(POLICY, IN_FORCE, key))
        opening = bundle(OPENED, IN_FORCE + 1, key, custom=True)
        with Following(folder, destination.url, [key], *QUICK) as sidecar:
            assert sidecar.decides_as_before()
            yield Target(destination, sidecar, opening)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_bundle_that_must_not_come_into_force_does_not(
    target: Target, attack: Attack, key: Key, foreign: Key
) -> None:
    sidecar = target.sidecar
    before, said = sidecar.refusals(attack.reason), len(sidecar.errors)
    target.destination.put(attack.made(target.opening, key.private, foreign.private))
    until(lambda: sidecar.refusals(attack.reason) > before, what=attack.name)
    assert sidecar.decides_as_before()
    (told,) = [line for line in sidecar.errors[said:].splitlines() if "is refused" in line]
    assert f"is refused ({attack.reason}), the old policy stays in force: " in told
    assert attack.said in told, "it is refused, and not for what is wrong with it"
    status, lines = sidecar.readyz()
    assert (status, lines[0]) == (200, "ready")
    assert [line for line in lines[1:] if f"({attack.reason})" in line and attack.said in line]


def test_after_all_of_that_a_good_one_comes_into_force(target: Target, figures: Figures) -> None:
    began = time.monotonic()
    target.destination.put(target.opening)
    target.sidecar.wait_until(CLOSED, permitted=True)
    figures.note(f"after {len(ATTACKS)} attacks on {target.destination.name}: a good bundle in force", _since(began))
    until(lambda: target.sidecar.readyz() == (200, ["ready"]), what="nothing to say but ready")


def test_a_library_that_comes_with_a_bundle_decides_nothing(tmp_path: Path, key: Key) -> None:
    files = unpacked(bundle(POLICY, 2, key))
    library = "intercept/decision.rego"
    lying = {**files, library: files[library].replace('"deny"', '"allow"')}
    assert lying != files
    with Directory(tmp_path) as destination:
        destination.put(bundle(POLICY, 1, key))
        with Following(tmp_path, destination.url, [key]) as sidecar:
            destination.put(packed(signed_by(key.private, lying)))
            sidecar.wait_for_error("the bundle with serial 2 is in force")
            assert sidecar.decides_as_before()


def test_no_damage_to_a_good_bundle_changes_a_decision(tmp_path: Path, key: Key, figures: Figures) -> None:
    good = bundle(POLICY, IN_FORCE, key)
    opening = bundle(OPENED, IN_FORCE + 1, key)
    chance = random.Random(19)
    with Directory(tmp_path) as destination:
        destination.put(good)
        with Following(tmp_path, destination.url, [key], "--bundle-interval", "10ms") as sidecar:
            tried, calls = 0, 0
            until_when = time.monotonic() + SECONDS_OF_MUTATIONS
            while time.monotonic() < until_when:
                destination.put(_damaged(opening, chance))
                tried += 1
                assert sidecar.decides_as_before()
                calls += 3
            refused = sum(sample.value for sample in sidecar.metrics if sample.name.endswith("bundle_refusals_total"))
            assert refused > 10, "the sidecar hardly looked: this shows nothing"
            destination.put(opening)
            sidecar.wait_until(CLOSED, permitted=True)
    figures.note(
        f"damaged bundles published in {SECONDS_OF_MUTATIONS:g} s, {calls} calls decided meanwhile", f"{tried}"
    )
    figures.note("of them fetched and refused (the others were replaced before)", f"{refused:g}")


def _damaged(data: bytes, chance: random.Random) -> bytes:
    """The data with some bits turned, a part left out or doubled: no longer what was signed."""
    while True:
        changed = bytearray(data)
        match chance.randrange(4):
            case 0:
                del changed[chance.randrange(len(changed)) :]
            case 1:
                at = chance.randrange(len(changed))
                changed[at:at] = changed[at : at + chance.randint(1, 64)]
            case _:
                for _ in range(chance.choice((1, 1, 2, 8))):
                    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        # What gzip notes beside the data, as the time, is signed by nobody and means nothing.
        if _content(bytes(changed)) != _content(data):
            return bytes(changed)


def _content(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return b""


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.2f} s"
