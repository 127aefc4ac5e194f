"""A bundle in a file or in a published directory: what is there, what is not, and what nobody may wait for."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sidecar.distribution import file_source
from sidecar.distribution.file_source import FileSource
from sidecar.distribution.source import MAX_SIZE, Source
from sidecar.errors import BundleRefused, NothingPublished, SourceUnavailable
from sidecar.system.files import Content
from tests.distribution.made import look, using


def test_a_file_is_fetched_once_and_again_when_its_content_is_another(tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"
    file.write_bytes(b"one")

    async def looks(source: Source) -> None:
        first = await source.fetch("")
        assert first is not None
        assert first.data == b"one"
        assert await source.fetch(first.tag) is None
        before = file.stat()
        file.write_bytes(b"two")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # the same size at the same time
        second = await source.fetch(first.tag)
        assert second is not None
        assert second.data == b"two"

    using(FileSource(file), looks)


def test_a_directory_means_the_current_bundle_in_it(tmp_path: Path) -> None:
    (tmp_path / "bundle.tar.gz").write_bytes(b"current")
    (tmp_path / "serial-9.tar.gz").write_bytes(b"another")
    [found] = look(FileSource(tmp_path))
    assert found is not None
    assert found.data == b"current"


@pytest.mark.parametrize("place", ["missing", "missing/bundle.tar.gz", "folder"])
def test_where_nobody_published_it_says_what_to_do(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(NothingPublished, match="sidecar policy publish"):
        look(FileSource(tmp_path / place))


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "bundle.tar.gz").open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    with pytest.raises(BundleRefused, match="larger than 32 MiB") as refused:
        look(FileSource(tmp_path))
    assert refused.value.kind == "too_large"


def test_a_file_that_is_being_written_is_left_until_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    with path.open("wb") as file:
        file.write(b"half")
        file.flush()
        with pytest.raises(SourceUnavailable, match="open for writing"):
            look(FileSource(path))
    assert look(FileSource(path))[0] is not None


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bundle.tar.gz")
    with pytest.raises(SourceUnavailable, match="a pipe"):
        look(FileSource(tmp_path))


def test_a_file_system_that_hangs_has_one_thread_of_ours_and_not_one_for_each_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, asked = threading.Event(), list[Path]()

    def hanging(path: Path, limit: int) -> Content:
        asked.append(path)
        answers.wait(20)
        return Content(b"late"[:limit], (), "", None)

    monkeypatch.setattr(file_source, "SECONDS", 0.05)
    monkeypatch.setattr("sidecar.system.files.read", hanging)
    (tmp_path / "bundle.tar.gz").write_bytes(b"")

    async def looks(source: Source) -> None:
        for _ in range(3):
            with pytest.raises(SourceUnavailable, match="does not answer"):
                await source.fetch("")
        monkeypatch.setattr(file_source, "SECONDS", 20.0)
        answers.set()
        found = await source.fetch("")
        assert found is not None
        assert found.data == b"late"

    using(FileSource(tmp_path), looks)
    assert len(asked) == 1
