"""Static tokens: those that the file holds now, and no other."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from sidecar.auth.principal import Principal
from sidecar.auth.token_file import TokenFile
from sidecar.errors import StartError
from sidecar.system.watched_file import LOOK
from tests.auth.tokens import Clock

HOLDER = Principal("token")


def tokens_in(path: Path, content: str, clock: Clock) -> TokenFile:
    path.write_text(content)
    return TokenFile(path, clock)


def test_a_token_of_the_file_has_a_holder_and_no_other_text_has(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path / "t", "# old\n  one-token \r\n\n\ttwo.token/+~_==\n#three\n", Clock())
    assert tokens.holder("one-token") == tokens.holder("two.token/+~_==") == HOLDER
    for wrong in ("", "one", "one-token ", "One-token", "one-token\n", "two", "#three", "three", "# old", "one-tokené"):
        assert tokens.holder(wrong) is None


def test_a_mark_that_an_editor_puts_in_front_is_no_part_of_the_first_token(tmp_path: Path) -> None:
    assert tokens_in(tmp_path / "t", "\ufeffone-token\n", Clock()).holder("one-token") == HOLDER


@pytest.mark.parametrize(
    "content", ["", "\n \n", "# only\n", "two words\n", "good\nBearer x\n", "caf\u00e9\n", "x" * 70_000]
)
def test_a_file_without_usable_tokens_stops_the_start_and_is_not_quoted(tmp_path: Path, content: str) -> None:
    with pytest.raises(StartError) as caught:
        tokens_in(tmp_path / "t", content, Clock())
    assert str(tmp_path / "t") in str(caught.value)
    assert not any(word in str(caught.value) for word in ("two words", "good", "Bearer", "café", "xxx"))


def test_what_is_no_regular_file_stops_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "pipe"):
        with pytest.raises(StartError):
            TokenFile(path)


def test_a_changed_file_brings_its_tokens_and_takes_the_old_ones_away(tmp_path: Path) -> None:
    clock = Clock()
    tokens = tokens_in(tmp_path / "t", "old\n", clock)
    (tmp_path / "t").write_text("old\nnew\n")
    assert tokens.holder("new") is None  # too early to look again
    clock.now += LOOK
    assert tokens.holder("new") == tokens.holder("old") == HOLDER
    (tmp_path / "t").write_text("new\n")
    clock.now += LOOK
    assert tokens.holder("old") is None
    assert tokens.holder("new") == HOLDER


def test_a_change_within_one_tick_of_the_file_systems_clock_is_seen(tmp_path: Path) -> None:
    clock = Clock()
    tokens = tokens_in(tmp_path / "t", "aaa\n", clock)
    before = (tmp_path / "t").stat()
    (tmp_path / "t").write_text("bbb\n")
    os.utime(tmp_path / "t", ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.now += LOOK
    assert tokens.holder("aaa") is None
    assert tokens.holder("bbb") == HOLDER


def test_a_swapped_symlink_is_a_change_as_kubernetes_makes_it(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(f"token{version}\n")
        os.utime(tmp_path / version / "token", ns=(10**18, 10**18))
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "token").symlink_to("..data/token")
    clock = Clock()
    tokens = TokenFile(tmp_path / "token", clock)
    assert tokens.holder("token1") == HOLDER
    (tmp_path / "..data_tmp").symlink_to("2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    clock.now += LOOK
    assert tokens.holder("token1") is None
    assert tokens.holder("token2") == HOLDER


@pytest.mark.parametrize("how", ["emptied", "gone", "nonsense"])
def test_no_token_is_valid_while_the_file_cannot_be_used_and_it_is_said_once(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    tokens = tokens_in(tmp_path / "t", "the-secret-number-one\n", clock)
    match how:
        case "emptied":
            (tmp_path / "t").write_text("")
        case "gone":
            (tmp_path / "t").unlink()
        case _:
            (tmp_path / "t").write_text("the-secret-number-one\nnot a token\n")
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            clock.now += LOOK
            assert tokens.holder("the-secret-number-one") is None
    assert len(caplog.records) == 1
    assert "no token is valid" in caplog.text
    (tmp_path / "t").write_text("the-secret-number-one\n")
    clock.now += LOOK
    assert tokens.holder("the-secret-number-one") == HOLDER
    assert "can be used again" in caplog.text
    assert "the-secret-number-one" not in caplog.text


def test_a_token_that_can_be_guessed_is_warned_of_whenever_it_comes_and_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    tokens = tokens_in(tmp_path / "t", "sixteen-letters.\n", clock)
    assert not caplog.records
    (tmp_path / "t").write_text("sixteen-letters.\n# and\nshort-letters.5\nx\n")
    clock.now += LOOK
    assert tokens.holder("short-letters.5") == tokens.holder("x") == HOLDER
    (said,) = caplog.messages
    assert said.startswith(f"--auth-token-file: {tmp_path / 't'}:3: a token of fewer than 16 characters can be guessed")
    assert "letters" not in said
