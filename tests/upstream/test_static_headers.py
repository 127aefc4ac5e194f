"""The operator's own headers: as given, or from a file that may be replaced while we run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sidecar.errors import StartError
from sidecar.settings import FixedHeader
from sidecar.upstream.static_headers import MAX_VALUE, fixed_headers


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("sidecar.system.watched_file.LOOK", 0.0)
    return tmp_path / "token"


def test_headers_stand_in_their_order_from_wherever_they_come(path: Path) -> None:
    path.write_text(" from file \n")
    headers = fixed_headers([FixedHeader("b", "given"), FixedHeader("a", None, path)])
    assert headers() == headers() == [("b", "given"), ("a", "from file")]


def test_a_mark_that_an_editor_puts_in_front_is_no_part_of_the_value(path: Path) -> None:
    path.write_text("value", encoding="utf-8-sig")
    assert fixed_headers([FixedHeader("a", None, path)])() == [("a", "value")]
    path.write_text("value", encoding="utf-16")
    with pytest.raises(StartError, match="holds no value for a header"):
        fixed_headers([FixedHeader("a", None, path)])


def test_a_file_that_is_replaced_gives_the_new_value(path: Path) -> None:
    path.write_text("old")
    headers = fixed_headers([FixedHeader("a", None, path)])
    path.write_text("new")
    assert headers() == [("a", "new")]


@pytest.mark.parametrize("content", [b"", b" \n", b"one\ntwo", b"a\0b", b"x" * (MAX_VALUE + 1), None])
def test_a_file_without_a_value_stops_the_start_and_is_survived_later(
    content: bytes | None, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("s3cret")
    headers = fixed_headers([FixedHeader("a", None, path)])
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        assert headers() == headers() == [("a", "s3cret")]
    assert "the old value stays in use" in caplog.text
    assert "s3cret" not in caplog.text
    with pytest.raises(StartError, match="--header a: "):
        fixed_headers([FixedHeader("a", None, path)])
    path.write_text("new")
    assert headers() == [("a", "new")]
