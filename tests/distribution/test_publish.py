"""Publishing: a serial is given once and never goes back, whoever else publishes, and whatever broke half-way."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import io
import json
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sidecar.distribution import folder_destination
from sidecar.distribution.access import Access
from sidecar.distribution.http_destination import copy_of
from sidecar.distribution.label import again, label
from sidecar.distribution.places import source_of
from sidecar.distribution.publish import copy, highest
from sidecar.distribution.writable import destination_of
from sidecar.errors import BundleRefused, SidecarError, SourceUnavailable
from sidecar.policy import archive
from sidecar.policy.bundle import STAMP
from tests.distribution.conftest import KINDS
from tests.distribution.made import look, packed, run
from tests.distribution.publishing import published
from tests.support.scripted_http import Asked, reply, scripted

DENY, ALLOW = "default: deny\n", "default: allow\n"


def fetched(place: str) -> bytes:
    [found] = look(source_of(place))
    assert found is not None
    return found.data


async def kept(place: str, serial: int) -> bytes | None:
    destination = destination_of(place)
    try:
        return await destination.of_serial(serial)
    finally:
        await destination.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_serial_is_given_once_and_never_goes_back(kind: str, place: Callable[[str], str]) -> None:
    where = place(kind)
    run(published(where, packed(ALLOW, 5)))
    run(published(where, packed(ALLOW, 5)))  # nothing to do
    with pytest.raises(BundleRefused, match="has serial 5 with other content") as refused:
        run(published(where, packed(DENY, 5)))
    assert refused.value.kind == "conflict"
    with pytest.raises(BundleRefused, match="has serial 5, and this bundle has 4: build with --serial 6") as refused:
        run(published(where, packed(DENY, 4)))
    assert refused.value.kind == "older"
    assert fetched(where) == packed(ALLOW, 5)
    run(published(where, packed(DENY, 6)))
    assert fetched(where) == packed(DENY, 6)
    assert run(kept(where, 5)) == packed(ALLOW, 5)
    assert run(kept(where, 6)) == packed(DENY, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_publication_that_broke_half_way_is_completed_by_the_next_try(kind: str, place: Callable[[str], str]) -> None:
    where, data = place(kind), packed(DENY, 2)
    run(published(where, packed(ALLOW, 1)))

    async def half() -> int:
        destination = destination_of(where)
        try:
            await destination.keep(2, data, label(data))
            return await highest(destination)
        finally:
            await destination.close()

    assert run(half()) == 2
    assert fetched(where) == packed(ALLOW, 1)
    with pytest.raises(BundleRefused, match="has serial 2 with other content"):
        run(published(where, packed(ALLOW, 2)))
    run(published(where, data))
    assert fetched(where) == data


async def told(place: str, data: bytes) -> str:
    """Why a bundle was not published, empty where it was."""
    try:
        await published(place, data)
    except BundleRefused as error:
        return error.kind
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_who_publish_a_serial_in_the_same_moment_one_wins(kind: str, place: Callable[[str], str]) -> None:
    where = place(kind)

    async def outcome(policy: str, serial: int) -> str | None:
        return policy if await told(where, packed(policy, serial)) != "conflict" else None

    async def rounds() -> None:
        for serial in range(1, 4):
            won = await asyncio.gather(*(outcome(policy, serial) for policy in (ALLOW, DENY)))
            [winner] = [policy for policy in won if policy is not None]
            assert await kept(where, serial) == packed(winner, serial)

    run(rounds(), 60)


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_serials_in_the_same_moment_the_higher_one_stays(kind: str, place: Callable[[str], str]) -> None:
    where = place(kind)

    async def outcome(serial: int) -> str:
        return await told(where, packed(ALLOW, serial))

    async def both() -> None:
        first, second = await asyncio.gather(outcome(1), outcome(2))
        assert (first in ("", "older"), second) == (True, "")

    run(both(), 60)
    assert fetched(where) == packed(ALLOW, 2)


def test_a_directory_is_published_to_by_one_of_many_at_a_time(tmp_path: Path) -> None:
    """Each in a thread of its own, so that they meet between any two calls to the system."""
    policies = [f"default: deny\nhide: [tool-{number}]\n" for number in range(6)]
    gate = threading.Barrier(len(policies))

    def outcome(policy: str) -> str:
        data = packed(policy, 1)
        gate.wait(30)
        return run(told(str(tmp_path), data))

    with ThreadPoolExecutor(len(policies)) as pool:
        outcomes = list(pool.map(outcome, policies))
    assert sorted(outcomes) == ["", *["conflict"] * 5]
    winner = packed(policies[outcomes.index("")], 1)
    assert (tmp_path / "serial-1.tar.gz").read_bytes() == winner
    assert (tmp_path / "bundle.tar.gz").read_bytes() == winner


def test_many_serials_at_a_time_leave_the_highest(tmp_path: Path) -> None:
    gate = threading.Barrier(6)

    def outcome(serial: int) -> str:
        data = packed(ALLOW, serial)
        gate.wait(30)
        return run(told(str(tmp_path), data))

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(outcome, range(1, 7)))
    assert outcomes[-1] == ""
    assert {*outcomes} <= {"", "older"}
    assert (tmp_path / "bundle.tar.gz").read_bytes() == packed(ALLOW, 6)


def test_a_lock_that_somebody_keeps_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_destination, "SECONDS", 0.2)
    with (tmp_path / folder_destination.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SourceUnavailable, match="somebody else publishes there"):
            run(published(str(tmp_path), packed()))
    run(published(str(tmp_path), packed()))


def test_a_bundle_whose_content_is_not_what_its_revision_says_is_not_published(tmp_path: Path) -> None:
    files = archive.read(packed(DENY))
    changed = files | {"intercept/policy/more.rego": "package intercept.policy\n\nproved := true\n"}
    with pytest.raises(BundleRefused, match="build it again"):
        run(published(str(tmp_path), archive.write(changed)))
    assert not list(tmp_path.glob("*.tar.gz"))


@pytest.mark.parametrize("serial", [0, -1, True, 1.0, "1", None, 1 << 53])
def test_a_serial_that_is_no_number_is_not_published(tmp_path: Path, serial: object) -> None:
    files = archive.read(packed())
    manifest = json.loads(files[archive.MANIFEST])
    manifest["metadata"]["serial"] = serial
    with pytest.raises(BundleRefused, match="serial"):
        run(published(str(tmp_path), archive.write({**files, archive.MANIFEST: json.dumps(manifest)})))


def test_what_is_no_bundle_is_neither_published_nor_published_over(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused):
        run(published(str(tmp_path), b"no bundle"))
    tar = io.BytesIO()
    tarfile.open(fileobj=tar, mode="w:gz").close()
    (tmp_path / "bundle.tar.gz").write_bytes(tar.getvalue())
    with pytest.raises(BundleRefused, match="remove it first"):
        run(published(str(tmp_path), packed()))


def test_whoever_reads_a_directory_never_sees_half_a_bundle(tmp_path: Path) -> None:
    """And nothing else stays behind than the bundles and the lock."""
    run(published(str(tmp_path), packed(ALLOW, 1)))
    with (tmp_path / "bundle.tar.gz").open("rb") as reading:
        run(published(str(tmp_path), packed(DENY, 2)))
        assert reading.read() == packed(ALLOW, 1)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"bundle.tar.gz", "serial-1.tar.gz", "serial-2.tar.gz", ".publish.lock"}
    assert (tmp_path / "bundle.tar.gz").stat().st_mode & 0o777 == 0o644


def test_a_directory_that_cannot_be_written_is_one_plain_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceUnavailable, match="cannot be written: Not a directory"):
        run(published(str(tmp_path / "file" / "below"), packed()))


def test_a_full_disk_leaves_the_old_bundle_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(published(str(tmp_path), packed(ALLOW, 1)))
    before = {path.name for path in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SourceUnavailable, match="No space left on device"):
        run(published(str(tmp_path), packed(DENY, 2)))
    assert {path.name for path in tmp_path.iterdir()} == before
    assert fetched(str(tmp_path)) == packed(ALLOW, 1)


def test_where_the_copy_of_a_serial_is() -> None:
    assert (
        copy_of("https://example.com/p/bundle.tar.gz?sig=1", 7) == "https://example.com/p/bundle.serial-7.tar.gz?sig=1"
    )
    assert copy_of("https://example.com/policy", 7) == "https://example.com/policy.serial-7"


class Shelf:
    """A server that keeps what is PUT. `honest` ones heed conditions; `names` bounds what may be written."""

    def __init__(self, *, honest: bool = False, only: str = "") -> None:
        self.kept: dict[str, bytes] = {}
        self._honest = honest
        self._only = only

    def __call__(self, asked: Asked) -> bytes:
        there = self.kept.get(asked.target)
        if asked.method == "GET":
            return reply(404) if there is None else reply(200, there, etag=f'"{hash(there)}"')
        if self._only not in asked.target:
            return reply(405)
        if self._honest:
            if asked.headers.get("if-none-match") == "*" and there is not None:
                return reply(412)
            if asked.headers.get("if-match", f'"{hash(there)}"') != f'"{hash(there)}"':
                return reply(412)
        self.kept[asked.target] = asked.body
        return reply(201)


def test_a_server_that_has_one_name_only_is_published_to_with_a_warning() -> None:
    warned: list[str] = []
    with scripted(Shelf(only="/b.tar.gz")) as server:
        where = f"{server.url}/b.tar.gz"
        run(published(where, packed(ALLOW, 1), warned=warned))
        assert "takes no copy for each serial" in warned[0]
        assert fetched(where) == packed(ALLOW, 1)
        with pytest.raises(BundleRefused, match="other content"):
            run(published(where, packed(DENY, 1)))


def test_a_server_that_has_one_bundle_under_every_name_is_published_to() -> None:
    bodies: list[bytes] = []

    def answer(asked: Asked) -> bytes:
        if asked.method == "PUT":
            bodies.append(asked.body)
        return reply(200, bodies[-1]) if bodies else reply(404)

    warned: list[str] = []
    with scripted(answer) as server:
        where = f"{server.url}/b.tar.gz"
        run(published(where, packed(ALLOW, 1), warned=warned))
        assert not warned
        run(published(where, packed(DENY, 2), warned=warned))
        assert "it keeps no copies" in warned[0]
        assert fetched(where) == packed(DENY, 2)
        with pytest.raises(BundleRefused, match="has serial 2, and this bundle has 1"):
            run(published(where, packed(ALLOW, 1)))


def test_another_bundle_under_the_name_of_a_serial_is_not_that_serial(tmp_path: Path) -> None:
    """A rollback to serial 2 must not become one to whatever somebody put there: it may be signed, and allow more."""
    run(published(str(tmp_path), packed(DENY, 2)))
    (tmp_path / "serial-2.tar.gz").write_bytes(packed(ALLOW, 1))
    assert run(copy(2, destination_of(str(tmp_path)))) is None
    assert run(highest(destination_of(str(tmp_path)))) == 2


def test_conditions_are_sent_to_servers_that_heed_them() -> None:
    with scripted(Shelf(honest=True)) as server:
        where = f"{server.url}/b.tar.gz"
        run(published(where, packed(ALLOW, 1)))
        run(published(where, packed(ALLOW, 2)))
        puts = [asked.headers for asked in server.asked if asked.method == "PUT"]
        assert ["if-none-match" in headers for headers in puts] == [True, True, True, False]
        assert puts[3]["if-match"].startswith('"')


def test_a_server_that_says_yes_and_keeps_nothing_is_found_out() -> None:
    answer = lambda asked: reply(201 if asked.method == "PUT" else 404)  # noqa: E731
    with scripted(answer) as server, pytest.raises(SidecarError, match="status 404"):
        run(published(f"{server.url}/b.tar.gz", packed()))


def test_whoever_writes_a_moment_later_is_seen() -> None:
    """He looked before we wrote. A plain server lets the last writer win, so that is he."""
    shelf, other = Shelf(), packed(DENY, 1)

    def answer(asked: Asked) -> bytes:
        said = shelf(asked)
        if asked.method == "PUT" and "serial-1" in asked.target:
            threading.Timer(0.05, shelf.kept.update, [{asked.target: other}]).start()
        return said

    with scripted(answer) as server:
        assert run(told(f"{server.url}/b.tar.gz", packed(ALLOW, 1))) == "conflict"


def test_whoever_may_not_write_is_told_so() -> None:
    answer = lambda asked: reply(401 if asked.method == "PUT" else 404)  # noqa: E731
    with scripted(answer) as server, pytest.raises(SourceUnavailable, match="does not let us in"):
        run(published(f"{server.url}/b.tar.gz", packed()))


@pytest.mark.parametrize("location", ["{other}/upload", "//example.com/upload", "http://[", "file:///tmp/upload"])
def test_an_upload_that_a_registry_wants_elsewhere_is_not_made(location: str) -> None:
    def answer(asked: Asked) -> bytes:
        where = location.format(other=other.url)
        return reply(202, location=where) if asked.method == "POST" else reply(404)

    with scripted(lambda _: reply(201)) as other, scripted(answer) as server:
        where = f"oci://{server.url.removeprefix('http://')}/policy"
        with pytest.raises(SourceUnavailable, match="which is not done"):
            run(published(where, packed(), Access(lambda: "t0ken")))
        assert other.asked == []


def test_an_unsigned_bundle_over_a_signed_one_is_said_to_be_refused(tmp_path: Path) -> None:
    signed = archive.write({**archive.read(packed(ALLOW, 1)), archive.SIGNATURES: "{}"})
    run(published(str(tmp_path), signed))
    warned: list[str] = []
    run(published(str(tmp_path), packed(ALLOW, 2), warned=warned))
    assert "sidecars that have a key will refuse it" in warned[0]


def test_old_content_under_a_new_serial_is_the_same_but_for_that() -> None:
    files = again(packed(DENY, 3), 9)
    before, after = archive.read(packed(DENY, 3)), archive.read(packed(DENY, 9))
    assert files == after
    assert {path for path in after if before[path] != after[path]} == {archive.MANIFEST, STAMP}


def test_old_content_of_another_format_is_not_made_anew() -> None:
    files = archive.read(packed())
    manifest = json.loads(files[archive.MANIFEST])
    manifest["metadata"]["format"] = 99
    with pytest.raises(BundleRefused, match="build it again from its commit"):
        again(archive.write({**files, archive.MANIFEST: json.dumps(manifest)}), 2)
