"""The check of a chain: whatever is done to a line is found where it was done."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.audit.files import AuditFile
from sidecar.audit.forms.form import form_of
from sidecar.audit.trail import Trail
from sidecar.audit.verify import LONGEST, Checked, check
from sidecar.settings import AUDIT_FORMATS, AuditFormat
from tests.audit.trails import ABOUT, ROOMY, caught, chained, line, nearly_full, trail, write
from tests.support.fuzzing import examples


def checked(content: bytes) -> Checked:
    return check(io.BytesIO(content))


def of_file(path: Path) -> Checked:
    with path.open("rb") as file:
        return check(file)


def written(form: AuditFormat, count: int) -> list[bytes]:
    """The lines of a chain in a form, each with its end."""
    stream = io.BytesIO()
    opened = Trail(stream, form_of(form), ABOUT)
    for number in range(count):
        said = line(number, time="2026-11-30T12:00:00.000Z", decision="deny", kind="rule", tool="t", **ABOUT)
        opened.write([said])
    return stream.getvalue().splitlines(keepends=True)


@pytest.mark.parametrize("form", AUDIT_FORMATS)
def test_what_was_written_holds_in_every_form(form: AuditFormat) -> None:
    lines = written(form, 5)
    found = checked(b"".join(lines))
    assert (found.problem, found.lines, found.first_seq, found.seq, found.lost) == (None, 5, 1, 5, 0)
    assert found.chain in lines[-1]
    assert (found.first_time, found.instance, found.last_event) == (
        "2026-11-30T12:00:00.000Z",
        ABOUT["instance"],
        "decision",
    )


CHAINS = {form: written(form, 6) for form in AUDIT_FORMATS}
PLACE = st.integers(0, 5)


@pytest.mark.fuzz
@examples(200)
@given(st.sampled_from(AUDIT_FORMATS), PLACE, st.data())
def test_a_changed_byte_is_found_in_its_line(form: AuditFormat, place: int, data: st.DataObject) -> None:
    lines = list(CHAINS[form])
    at = data.draw(st.integers(0, len(lines[place]) - 2))
    byte = data.draw(st.integers(0, 255))
    changed = bytearray(lines[place])
    changed[at] = byte
    if bytes(changed) == lines[place]:
        return
    lines[place] = bytes(changed)
    problem = checked(b"".join(lines)).problem
    assert problem is not None
    assert problem[0] == place + 1


@pytest.mark.fuzz
@examples(200)
@given(st.sampled_from(AUDIT_FORMATS), PLACE, st.integers(0, 700), st.integers(0, 700), st.binary(max_size=40))
def test_bytes_that_are_replaced_are_found_where_they_begin(
    form: AuditFormat, place: int, begin: int, length: int, new: bytes
) -> None:
    lines = CHAINS[form]
    whole = b"".join(lines)
    start = min(sum(map(len, lines[:place])) + begin, len(whole) - 1)
    changed = whole[:start] + new + whole[start + length :]
    if changed == whole or whole.startswith(changed):  # a cut tail is not found
        return
    found = checked(changed)
    if changed.rstrip(b"\n") == whole.rstrip(b"\n") and len(changed) < len(whole):
        assert found.problem is None
        return
    assert found.problem is not None
    same = next((at for at, (old, now) in enumerate(zip(whole, changed, strict=False)) if old != now), len(whole))
    assert found.problem[0] in (whole.count(b"\n", 0, same) + 1, changed.count(b"\n", 0, same) + 1)


@pytest.mark.fuzz
@examples(100)
@given(st.sampled_from(AUDIT_FORMATS), PLACE, PLACE)
def test_a_line_taken_out_put_in_or_moved_is_found(form: AuditFormat, one: int, other: int) -> None:
    lines = CHAINS[form]
    first, second = sorted((one, other))
    twice = [*lines[: first + 1], lines[first], *lines[first + 1 :]]
    moved = list(lines)
    moved[first], moved[second] = moved[second], moved[first]
    copied = [*lines[:first], lines[second], *lines[first:]]
    without = [*lines[:first], *lines[first + 1 :]]
    assert where(twice) == first + 2
    assert where(moved) == (first + 1 if first != second else None)
    assert where(copied) == (first + 1 if first != second else first + 2)
    assert where(without) == (first + 1 if first < 5 else None)
    assert where([*lines[:first], b"\n", *lines[first:]]) == first + 1


def where(lines: list[bytes]) -> int | None:
    problem = checked(b"".join(lines)).problem
    return problem[0] if problem is not None else None


@pytest.mark.parametrize("form", AUDIT_FORMATS)
def test_a_cut_tail_holds_and_shows_in_the_last_number_and_hash(form: AuditFormat) -> None:
    whole, cut = checked(b"".join(CHAINS[form])), checked(b"".join(CHAINS[form][:-1]))
    assert cut.problem is None
    assert (whole.seq, cut.seq) == (6, 5)
    assert whole.chain != cut.chain


def test_a_new_chain_over_changed_lines_holds_which_is_what_a_chain_cannot_prove() -> None:
    assert checked(chained(line(1), line(3))).problem is None


@pytest.mark.parametrize("cut", [2, 20, 40])
def test_a_line_that_was_cut_off_holds_only_with_the_line_that_tells_of_it(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, 1, 2)
    path.write_bytes(path.read_bytes()[:-cut])
    assert where([path.read_bytes()]) == 2
    write(path, 3)
    found = of_file(path)
    assert (found.problem, found.lines, found.lost) == (None, 3, 1)
    first, torn, *rest = path.read_bytes().splitlines(keepends=True)
    assert where([first, *rest]) == 2
    assert where([first, torn[:-2] + b"\n", *rest]) == 2
    assert where([first, torn, torn, *rest]) == 2
    assert where([first, torn, *rest[1:]]) == 2


@pytest.mark.fuzz
@examples(100)
@given(st.sampled_from(AUDIT_FORMATS), st.lists(st.integers(1, 900), min_size=1, max_size=3))
def test_wherever_runs_were_cut_off_the_chain_of_the_file_holds(
    tmp_path_factory: pytest.TempPathFactory, form: AuditFormat, cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("cut") / "audit.jsonl"
    for cut in cuts:
        opened = Trail(AuditFile(path, form_of(form), ROOMY, 0), form_of(form), ABOUT)
        opened.write([said(1), said(2)])
        opened.close()
        size = path.stat().st_size
        before = of_file(path)
        assert before.problem is None
        with path.open("r+b") as file:
            file.truncate(max(1, size - cut))
    opened = Trail(AuditFile(path, form_of(form), ROOMY, 0), form_of(form), ABOUT)
    opened.write([said(3)])
    opened.close()
    assert of_file(path).problem is None


@pytest.mark.fuzz
@examples(60)
@example("cef", [1, 0], [1])
@given(
    st.sampled_from(AUDIT_FORMATS), st.lists(st.integers(0, 700), max_size=12),
    st.lists(st.integers(1, 3), min_size=1, max_size=8),
)  # fmt: skip
def test_whatever_a_stream_takes_the_chain_holds(form: AuditFormat, takes: list[int], batches: list[int]) -> None:
    stream, waiting = io.BytesIO(), iter(takes)
    whole = stream.write
    stream.write = lambda data: whole(bytes(data)[: next(waiting, 1 << 20)])  # type: ignore[method-assign]
    opened, number = Trail(stream, form_of(form), ABOUT), 0
    with caught() as lost:
        for size in batches:
            opened.write([said(number + at) for at in range(size)])
            number += size
    for _ in takes:
        opened.reopen()
    found = checked(stream.getvalue())
    assert (found.problem, found.lost) == (None, len(lost))


def said(number: int) -> bytes:
    return line(number, time="2026-11-30T12:00:00.000Z", decision="allow", kind="allow", tool="t", **ABOUT)


def test_a_full_disk_leaves_a_chain_that_counts_what_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with trail(path) as opened:
        opened.write([line(1)])
        with nearly_full(path.stat().st_size + 10):
            opened.write([line(2), line(3)])
        opened.write([line(4)])
    found = of_file(path)
    assert (found.problem, found.lines, found.lost) == (None, 3, 2)


@pytest.mark.parametrize("form", AUDIT_FORMATS)
@pytest.mark.parametrize("has_another", [False, True])
@pytest.mark.parametrize("left", [1, 5, 40, -1])
def test_where_the_first_line_of_a_file_was_cut_off_the_chain_goes_on(
    tmp_path: Path, form: AuditFormat, left: int, *, has_another: bool
) -> None:
    """A sidecar is killed, or a disk is full, just after a rotation."""
    path, before = tmp_path / "audit.log", tmp_path / "audit.000001.log"
    said = line(0, time="2026-11-30T12:00:00.000Z", decision="deny", kind="rule", tool="t", **ABOUT)

    def run() -> None:
        opened = Trail(AuditFile(path, form_of(form), ROOMY, 0), form_of(form), ABOUT)
        opened.write([said])
        opened.close()

    run()
    if has_another:
        path.rename(before)
        run()
    first, _, _ = path.read_bytes().partition(b"\n")
    path.write_bytes(first.rpartition(b"eq")[0][:left])
    run()
    run()
    found = of_file(path)
    assert (found.problem, found.lost) == (None, 1)
    assert sorted(tmp_path.iterdir()) == ([before, path] if has_another else [path])
    if has_another:
        assert (found.after, found.first_seq) == (of_file(before).chain, 2)
    path.write_bytes(b"x" + path.read_bytes())
    assert of_file(path).problem is not None


def test_what_never_was_a_chain_is_said_to_be_none() -> None:
    problem = checked(b'{"event":"decision"}\n').problem
    assert problem is not None
    assert problem[1].endswith("or the file is of an earlier version")


def test_other_numbers_in_a_file_that_goes_on_from_another_are_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, *range(6), most=500)
    lines = path.read_bytes().splitlines(keepends=True)
    assert b'"continued"' in lines[0]
    for seq in range(100, 0, -1):
        lines = [one.replace(b'"seq":%d,' % seq, b'"seq":%d,' % (seq + 10)) for one in lines]
    assert where(lines) == 1


def test_a_file_without_its_beginning_is_found() -> None:
    problem = checked(b"".join(CHAINS["json"][2:])).problem
    assert problem == (1, "it is number 3, and what stood before it is missing")


def test_a_line_that_is_written_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    whole = chained(line(1), line(2))
    path = tmp_path / "audit.jsonl"
    path.write_bytes(whole[:-20])

    def pause() -> None:
        path.write_bytes(whole)

    with path.open("rb") as file:
        found = check(file, pause)
    assert (found.problem, found.lines) == (None, 2)


def test_a_line_without_an_end_costs_bounded_memory() -> None:
    class Endless(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            return b"x" * size

    assert check(Endless()).problem == (1, f"it is longer than {LONGEST} bytes, as no line of an audit log is")


SEAL_CEF = b" InterceptSidecarSeq=1 InterceptSidecarChain=%b\n" % (b"0" * 32)
CEF = b"CEF:0|a|b|c|start|d|5|"


@pytest.mark.parametrize(
    "content",
    [
        b'{"event":"x","q":%b%b,"seq":1,"chain":"%b"}\n' % (b"[" * 100_000, b"]" * 100_000, b"0" * 32),
        b"%brt=%b%b" % (CEF, b"9" * 20, SEAL_CEF),
        b"%brt=%b%b" % (CEF, b"9" * 400, SEAL_CEF),
        # To look for a key in it at every place would take hours.
        b"%b%b%b" % (CEF, b"a" * (LONGEST - 200), SEAL_CEF),
    ],
    ids=["nested", "time", "long time", "one word"],
)
def test_a_line_that_was_made_to_harm_whoever_checks_it_is_one_that_is_wrong(content: bytes) -> None:
    found = checked(content)
    assert found.problem is not None
    assert found.problem[0] == 1
