"""Bundles as they travel: what is written reads back, and whatever else comes is refused, within bounds."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import time
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import BundleRefused, PolicyError
from sidecar.policy import archive
from sidecar.policy.archive import MAX_FILES, MAX_UNPACKED, read, write
from tests.policy.archives import BLOCK, END, archived, header, member
from tests.support import OPA
from tests.support.fuzzing import examples

REGO = b"package intercept.custom\n"
NAME = b"intercept/custom/a.rego"
GOOD = {".manifest": "{}", "intercept/custom/a.rego": "package intercept.custom\n", "intercept/facts/data.json": "{}\n"}


def refusal(data: bytes) -> tuple[str, str]:
    """The kind of a refusal, and its text."""
    with pytest.raises(BundleRefused) as caught:
        read(data)
    return caught.value.kind, str(caught.value)


# What is written reads back.

STEPS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)
NAMES = st.one_of(
    st.just(".manifest"),
    st.builds(
        lambda steps, last: "/".join([*steps, last]), st.lists(STEPS, max_size=4),
        st.just("data.json") | STEPS.map(lambda step: f"{step}.rego"),
    ),
)  # fmt: skip
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@examples(100)
@given(st.dictionaries(NAMES, TEXTS, max_size=8))
def test_what_is_written_reads_back_and_the_order_of_files_changes_nothing(files: dict[str, str]) -> None:
    if len({name.casefold() for name in files}) < len(files):
        with pytest.raises(PolicyError):
            write(files)
        return
    data = write(files)
    assert read(data) == files
    assert write(dict(reversed(files.items()))) == data
    assert read(write(files, archive.TO_TRAVEL)) == files


def test_the_longest_name_is_written_and_read_and_no_longer_one() -> None:
    longest = f"{'f' * 49}/{'g' * 49}/{'h' * 45}.rego"
    assert len(longest) == archive.MAX_NAME
    assert read(write({longest: "x"})) == {longest: "x"}
    with pytest.raises(PolicyError, match="up to 150 characters"):
        write({f"a{longest}": "x"})


@pytest.mark.parametrize(
    "name",
    [
        "", "/a.rego", "a//b.rego", "../a.rego", "a/../b.rego", "./a.rego", ".hidden.rego", "-a.rego", "a.rego/",
        "a.txt", "data.yaml", "a/data.json.bak", "a.wasm", "a/.manifest", "a b.rego", "ä.rego", "a\0.rego", "a\n.rego",
        "a.b/c.rego", ".signatures.json.rego", "A/.signatures.json", "patch.json", "rego", ".rego",
    ],
)  # fmt: skip
def test_a_name_that_would_be_refused_is_not_written(name: str) -> None:
    with pytest.raises(PolicyError, match="no name for a file of a bundle"):
        write({name: "x"})
    if not name.startswith("/"):
        assert refusal(archived([member(name.encode(), b"x")]))[0] in ("foreign", "broken")


def test_two_names_that_some_file_systems_take_for_one_are_not_written() -> None:
    with pytest.raises(PolicyError, match="some file systems take it for a/B"):
        write({"a/B.rego": "x", "a/b.rego": "x"})


def test_what_opa_builds_is_read(tmp_path: Path) -> None:
    (tmp_path / "b" / "custom").mkdir(parents=True)
    (tmp_path / "b" / "custom" / "a.rego").write_bytes(REGO)
    (tmp_path / "b" / ".manifest").write_text('{"roots": ["intercept"]}')
    subprocess.run(
        [OPA, "build", "-b", ".", "-o", "../b.tar.gz"], cwd=tmp_path / "b", check=True, capture_output=True, timeout=60
    )
    files = read((tmp_path / "b.tar.gz").read_bytes())
    assert files["custom/a.rego"] == REGO.decode()
    assert {"custom/a.rego", ".manifest", "data.json"} == files.keys()


# What is no archive.


def test_what_is_no_archive_is_refused() -> None:
    for data in (b"", b"x", b"\x1f\x8b", REGO, gzip.compress(b""), gzip.compress(REGO), gzip.compress(END)[:-1]):
        assert refusal(data)[0] == "broken"


def test_an_archive_that_is_cut_off_anywhere_is_refused() -> None:
    data = write(GOOD)
    for at in range(len(data)):
        assert refusal(data[:at])[0] == "broken"


def test_something_after_the_end_is_refused() -> None:
    data = write(GOOD)
    for more in (b"\0", b"x", data, gzip.compress(b"")):
        assert refusal(data + more) == ("broken", "something follows its end")
    tar = gzip.decompress(data)
    assert refusal(gzip.compress(tar + member(NAME, REGO)))[0] == "broken"
    assert refusal(gzip.compress(tar.rstrip(b"\0") + bytes(BLOCK)))[0] == "broken"


@examples(300)
@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_a_byte_that_changed_on_the_way_changes_no_file(place: int, by: int) -> None:
    data = bytearray(write(GOOD))
    data[place % len(data)] ^= by
    with suppress(BundleRefused):
        assert read(bytes(data)) == GOOD


@examples(300)
@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_a_byte_of_the_tar_that_changed_is_refused_or_changes_one_file(place: int, by: int) -> None:
    tar = bytearray(gzip.decompress(write(GOOD)))
    tar[place % len(tar)] ^= by
    try:
        found = read(gzip.compress(tar, 1))
    except BundleRefused:
        return
    assert found.keys() == GOOD.keys()
    assert sum(found[name] != text for name, text in GOOD.items()) <= 1


# What is in it.


@pytest.mark.parametrize(
    "kind", [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"x", b"g", b"L", b"K", b"S", b"D", b"\xff"]
)
def test_nothing_but_plain_files_is_in_it(kind: bytes) -> None:
    assert refusal(archived([member(NAME, REGO, kind)]))[0] == "foreign"
    assert refusal(archived([member(NAME, REGO), member(b"x", b"", kind)]))[0] == "foreign"


def test_links_folders_and_sparse_files_as_tar_makes_them_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rego").write_bytes(REGO)
    (tmp_path / "b.rego").hardlink_to(tmp_path / "a.rego")
    (tmp_path / "c.rego").symlink_to("/etc/passwd")
    with (tmp_path / "d.rego").open("wb") as sparse:
        sparse.truncate(1 << 20)
        sparse.seek(1 << 19)
        sparse.write(REGO)
    (tmp_path / "folder").mkdir()
    for names in (["a.rego", "b.rego"], ["c.rego"], ["--sparse", "d.rego"], ["folder"]):
        for form in ("ustar", "pax", "gnu"):
            if (form, names[0]) != ("ustar", "--sparse"):
                command = ["tar", f"--format={form}", "-czf", "a.tar.gz", *names]
                subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
                refusal((tmp_path / "a.tar.gz").read_bytes())


def test_a_plain_file_that_leads_elsewhere_is_refused() -> None:
    assert refusal(archived([header(NAME, link=b"/etc/passwd")]))[0] == "foreign"


@pytest.mark.parametrize("headers", [{"path": "intercept/policy/evil.rego"}, {"size": "1"}, {"GNU.sparse.size": "9"}])
def test_an_extended_header_does_not_rename_or_resize_a_file(headers: dict[str, str]) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(NAME.decode())
        info.size, info.pax_headers = len(REGO), headers
        tar.addfile(info, io.BytesIO(REGO))
    assert refusal(packed.getvalue()) == ("foreign", "it holds an extended header; a bundle has plain files only")


@pytest.mark.parametrize("name", [NAME, b"/" + NAME, b".manifest", b"/.manifest"])
def test_a_name_that_stands_twice_is_refused(name: bytes) -> None:
    for other in (name, name.removeprefix(b"/"), b"/" + name.removeprefix(b"/")):
        kind, why = refusal(archived([member(name, b"{}"), member(other, b"{}")]))
        assert kind == "broken"
        assert why.endswith("twice")
    assert refusal(archived([member(NAME), member(NAME.upper().replace(b"REGO", b"rego"))]))[0] == "broken"


@pytest.mark.parametrize(
    "name",
    [
        b"../x.rego", b"//x.rego", b"/../x.rego", b"a/./x.rego", b"policy.wasm", b"patch.json", b"intercept/.manifest",
        b"intercept/facts/data.yaml", b"intercept/custom/\xc3\xa4.rego", b"intercept/custom/\xff.rego",
        b"intercept/custom/a\xe2\x80\xae.rego", b"C:\\x.rego", b"intercept/custom/a.rego\n", b"x.signatures.json",
    ],
)  # fmt: skip
def test_a_name_that_no_file_of_a_policy_has_is_refused_and_shown_safely(name: bytes) -> None:
    kind, why = refusal(archived([member(name, REGO)]))
    assert kind == "foreign"
    assert why.isprintable()


def test_a_name_ends_where_every_reader_sees_its_end() -> None:
    assert refusal(archived([header(b"intercept/custom/a.rego\0.txt")])) == (
        "broken", "a name in its tar archive holds a NUL character",
    )  # fmt: skip
    assert read(archived([header(b"a.rego", prefix=b"intercept/custom")])) == {"intercept/custom/a.rego": ""}
    assert refusal(archived([header(b"/a.rego", prefix=b"intercept/custom")]))[0] == "foreign"


@pytest.mark.parametrize(
    "bad",
    [
        header(NAME, checksum=b"0000000\0"), header(NAME, magic=b"ustar  \0"), header(NAME, magic=bytes(8)),
        header(NAME, b"\x80" + bytes(10) + b"\1"), header(NAME, b"-0000000001\0"), header(NAME, b"0x000000001\0"),
        header(NAME, b"        8 8\0"), header(NAME, bytes(12)), header(NAME, 8**11 - 1), header(NAME, 1),
        header(NAME, 512)[:-1],
    ],
    ids=range(11),
)  # fmt: skip
def test_a_header_that_readers_take_differently_is_refused(bad: bytes) -> None:
    assert refusal(archived([bad]))[0] == "broken"


def test_what_fills_a_block_up_is_nothing() -> None:
    assert refusal(archived([header(NAME, 1) + b"x" + b"hidden".ljust(BLOCK - 1, b"\0")]))[0] == "broken"


def test_a_file_that_is_not_utf_8_is_refused() -> None:
    assert refusal(archived([member(NAME, b"# \xff\n")])) == ("broken", f"{NAME.decode()} in it is not UTF-8")


# Bounds.


def test_a_bomb_is_given_up_when_it_is_too_large() -> None:
    bomb = zlib.compressobj(9, wbits=31)
    data = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(200)) + bomb.flush()
    begun = time.process_time()
    assert refusal(data) == ("too_large", "it unpacks to more than 16 MiB")
    assert time.process_time() - begun < 2
    assert refusal(archived([member(NAME, bytes(MAX_UNPACKED))]))[0] == "too_large"


def test_very_many_files_are_too_many() -> None:
    blocks = (header(b"intercept/custom/a%d.rego" % number) for number in range(20_000))
    assert refusal(archived(blocks)) == ("too_large", f"it holds more than {MAX_FILES} files")
