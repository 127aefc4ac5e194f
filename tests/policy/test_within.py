"""Paths in folders: the engine says of each what Python's own reading of paths says."""

from __future__ import annotations

import posixpath
import re
from itertools import islice, permutations
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sidecar.engine import binary
from sidecar.policy import folders
from sidecar.policy.bundle import library
from sidecar.policy.rego import array
from tests.support import OPA
from tests.support.fuzzing import examples

Row: TypeAlias = tuple[str, tuple[str, ...]]
"""A text, and the folders of a policy."""


class Said(msgspec.Struct):
    """Whether each text is shown to lie within the folders, and whether it is shown not to."""

    within: list[bool]
    refuted: list[bool]


QUERY = """
	{name: [answer | some row in input; answer := row[0] in {
		"within": {text | text := row[0]; data.intercept.operator.within(0, text, row[1])},
		"refuted": {text | text := row[0]; data.intercept.refute.within(0, text, row[1])},
	}[name]] | some name in ["within", "refuted"]}
"""


def said(rows: list[Row]) -> Said:
    document = array([(text, folders.compiled(given)) for text, given in rows])
    return msgspec.json.decode(binary.evaluate(OPA, " ".join(QUERY.split()), document, library()), type=Said)


def expected(rows: list[Row]) -> Said:
    """The same by Python: what is no absolute path is neither."""
    read = [(resolved(text), given) for text, given in rows]
    inside = [path is not None and any(holds(folder, path) for folder in given) for path, given in read]
    return Said(inside, [path is not None and not each for (path, _), each in zip(read, inside, strict=True)])


def resolved(text: str) -> str | None:
    if not text.startswith("/") or re.search(r"[\x00-\x1f\x7f-\x9f\\]|[\s\ufeff]\Z", text):
        return None
    if len(text) > 4096 or text.count("/..") > 256:
        return None
    return posixpath.normpath(f"/{text.lstrip('/')}")  # two slashes in front stay two there


def holds(folder: str, path: str) -> bool:
    return posixpath.commonpath([folder, path]) == folder


NAMES = ["a", "b", "srv", "data", "database", "DATA", "...", "..a", "a..", " ", "~", "é", "%2e%2e", "a b"]
steps = st.sampled_from([*NAMES, "a", "b", "srv", "data", ".", "..", "..", "..", "", "*"])
odd = st.sampled_from(
    ["\\", "\0", "\n", "\x7f", "\x85", " ", "\u00a0", "\u3000", "\ufeff", "\\..\\", "\u2025", "\uff0f"]
)
normal = st.lists(st.sampled_from(NAMES[:-4]), max_size=3).map(lambda names: f"/{'/'.join(names)}".rstrip(" ") or "/")


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A path of a few steps, mostly an absolute one; now and then with something in it that makes it none."""
    front = draw(st.sampled_from(["/", "/", "/", "/", "//", "///", "", "./", "../", "~", "~/", "/~"]))
    text = front + "/".join(draw(st.lists(steps, max_size=12)))
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(odd) + text[at:]
    return text


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """A text and folders; often a text that comes near to one of them."""
    given = tuple(
        draw(st.lists(normal.filter(lambda folder: folder == posixpath.normpath(folder)), min_size=1, max_size=3))
    )
    text = draw(texts() | st.text(max_size=8))
    near = draw(st.sampled_from(["", "", given[0], f"/x/..{given[-1]}", f"{given[0]}/", f"{given[0]}a"]))
    return near + text, given


@pytest.mark.fuzz
@settings(examples(12), phases=[Phase.generate])  # making a failing batch small takes minutes of engine runs
@given(st.lists(rows(), min_size=100, max_size=200))
def test_a_path_lies_within_a_folder_where_python_resolves_it_to_be_there(batch: list[Row]) -> None:
    assert said(batch) == expected(batch)


def test_every_short_climb_is_resolved() -> None:
    paths = [""]
    for _ in range(6):
        paths += [
            f"{path}/{step}" for path in paths if path.count("/") == paths[-1].count("/") for step in ("a", "b", "..")
        ]
    batch: list[Row] = [(path, ("/a/b", "/b")) for path in paths]
    assert said(batch) == expected(batch)
    assert sum(expected(batch).within) > 100


def test_the_longest_path_is_read_and_none_beyond() -> None:
    longest = "/a/" + "b" * 4093
    batch: list[Row] = [
        (longest, ("/a",)),
        (f"{longest}b", ("/a",)),
        ("/a/.." * 256 + "/a", ("/a",)),
        ("/a/.." * 257 + "/a", ("/a",)),
    ]
    assert said(batch) == Said([True, False, True, False], [False] * 4)
    assert said(batch) == expected(batch)


def test_many_paths_of_the_same_names_take_no_time_that_grows_with_their_square() -> None:
    # It would be minutes: the engine's run ends after one.
    orders = list(islice(permutations("abcdefgh"), 20_000))
    rows: list[Row] = [(f"/srv/{'/'.join(names)}", ("/srv",)) for names in orders]
    assert said(rows).within == [True] * len(rows)
