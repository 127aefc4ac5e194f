"""Hosts of URLs: what the engine says of a URL is true for every client, whichever way it reads URLs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sidecar.engine import binary
from sidecar.policy import hosts
from sidecar.policy.bundle import library
from sidecar.policy.rego import array
from tests.policy.url_readers import PORTS, READERS, Destination, destination
from tests.support import OPA
from tests.support.fuzzing import examples

pytestmark = pytest.mark.timeout(400)  # many runs of the engine, and of Node

LISTED: Final = (
    "example.com", "*.example.org", "api.test:8443", "any.test:*", "*.any.test:*", "127.0.0.1", "10.0.0.1:*", "[::1]",
    "[2001:db8::1]:*", "xn--mnchen-3ya.de", "localhost:8080",
)  # fmt: skip
"""The list of every test here."""


class Go(msgspec.Struct):
    """What Go's net/url makes of a URL: the engine is written in Go, and has it."""

    scheme: str | None = None
    hostname: str | None = None
    port: str | None = None


class Said(msgspec.Struct):
    """Whether each text is shown to lead to a listed host, whether it is shown not to, and where Go takes it."""

    listed: list[bool]
    refuted: list[bool]
    go: list[list[Go]]


QUERY = """
	{
		"listed": [answer | some text in input[0]; answer := text in {each |
			each := text; data.intercept.operator.host_in(0, each, input[1])
		}],
		"refuted": [answer | some text in input[0]; answer := text in {each |
			each := text; data.intercept.refute.host_in(0, each, input[1])
		}],
		"go": [read | some text in input[0]; read := {parsed | uri.is_valid(text); parsed := uri.parse(text)}],
	}
"""


def said(texts: Sequence[str]) -> Said:
    document = array([tuple(texts), hosts.compiled(LISTED)])
    return msgspec.json.decode(binary.evaluate(OPA, " ".join(QUERY.split()), document, library()), type=Said)


def is_listed(where: Destination) -> bool:
    """True where a client that connects to this connects to a listed host; written apart from the library."""
    scheme, host, port = where
    for entry in LISTED:
        found = re.fullmatch(r"(\*)?(.*?)(?::(\d+|\*))?", entry)
        assert found
        below, name, at = found.groups()
        wanted = {"*": str(port), None: str(PORTS[scheme])}.get(at, at)
        if (host.endswith(name) if below else host == name) and str(port) == wanted:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Read:
    """A text, what the engine says of it, and where clients connect, by their names."""

    text: str
    listed: bool
    refuted: bool
    where: dict[str, Destination]

    @property
    def wrong(self) -> str | None:
        """What the engine says that is not true for a client; None when nothing is."""
        for client, where in self.where.items():
            if self.listed and not is_listed(where):
                return f"{self.text!r} is listed, and {client} connects to {where}"
            if self.refuted and is_listed(where):
                return f"{self.text!r} is refuted, and {client} connects to {where}"
        return f"{self.text!r} is both" if self.listed and self.refuted else None


def read(texts: Sequence[str]) -> list[Read]:
    answers = said(texts)
    by_client = {name: reader(texts) for name, reader in READERS.items()}
    by_client["go"] = [destination(go[0].scheme, go[0].hostname, go[0].port) if go else None for go in answers.go]
    return [
        Read(text, listed, refuted, {name: found for name, wheres in by_client.items() if (found := wheres[at])})
        for at, (text, listed, refuted) in enumerate(zip(texts, answers.listed, answers.refuted, strict=True))
    ]


# Plain URLs: every client reads them alike, and the engine says either the one or the other.

NAMES = [
    "example.com", "example.org", "a.example.org", "b.a.example.org", "api.test", "any.test", "a.any.test",
    "127.0.0.1", "10.0.0.1", "127.0.0.2", "[::1]", "[0:0::1]", "[2001:db8::1]", "[2001:DB8::1]", "[2001:db8::2]",
    "localhost", "evil.test", "xn--mnchen-3ya.de", "notexample.com", "example.com.evil.test", "com", "EXAMPLE.com",
    "Any.Test", "a_b.any.test",
]  # fmt: skip
plain = st.tuples(
    st.sampled_from(["http://", "https://", "HTTP://", "hTtPs://"]),
    st.sampled_from(NAMES),
    st.sampled_from(["", "", ":80", ":443", ":8443", ":8080", ":1", ":65535"]),
    st.sampled_from(
        ["", "/", "?a=b", "#a", "/a/b?c=https://evil.test#d", "/@evil.test", "/%40/%2e%2e", "/a:1", "//evil.test"]
    ),
).map("".join)


@pytest.mark.fuzz
@settings(examples(6), phases=[Phase.generate])  # making a failing batch small takes minutes of engine runs
@given(st.lists(plain, min_size=100, max_size=200, unique=True))
def test_a_plain_url_is_judged_and_as_every_client_reads_it(batch: list[str]) -> None:
    for each in read(batch):
        assert len(each.where) == len(READERS) + 1, each
        assert len(set(each.where.values())) == 1, each
        assert each.listed is is_listed(each.where["go"]), each
        assert each.refuted is not each.listed, each


# Anything else: where the engine says something, no client may do otherwise.

TRICKS = [
    "@", "@evil.test", "evil.test@", "u:p@", ":@", ":", ":80", ":443", ":0443", ":+443", ":65536", ":0", ":443:80",
    ": 443", "#", "?", "/", "\\", "//", "/\\", "#@", "?@", "/@", "\\@", "#\\@", ".", "..", "%2e", "%2E", "%40", "%2f",
    "%00", "%23", "%5c", "%3a", "%", "。", "．", "｡", "＠", "：", "／", "？", "＃", "℀", "ⓔ", "ｅ", "е", "ı", "ſ", "K",
    "ß", "\u00ad", "\u200b", "\u200d", "\u2060", "\ufeff", "\u202e", "\u0338", "\u0301", " ", "\t", "\n", "\r", "\r\n",
    "\0", "\x1f", "\x7f", "\x85", "\x9f", "\u00a0", "\u2028", "\u3000", "[", "]", "[::1]", "::1", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[::1%25lo]", "[::1%lo]", "[v1.a]", "127.1", "2130706433",
    "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.01", "127.0.0.1.", "00000127.0.0.1", "0x7F.0.0.0x1", "127.0.0.1.0",
    "10.1", "167772161", "xn--", "xn--example-", "XN--mnchen-3ya", "a", "-", "_", "*", ";", "&", "=", ",", "'", '"',
    "<", ">", "{", "}", "|", "^", "`", "~", "$", "!", "(", ")", "+", "http://", "https://", "https:", "ftp://",
    "javascript:", "file://", "//evil.test/", *NAMES,
]  # fmt: skip
STARTS = [
    "http://", "https://", "https://", "HTTPS://", "https:/", "https:", "https:///", "https:////", "//", "/", "",
    "ftp://", "https:\\\\", "https:/\\", "httpſ://", " https://", "\thttps://", "ht\ntps://", "https\r://",
    "\0https://", "https://@", "https://u@", "https://u:p@", "https ://", "https://\t", "\ufeffhttps://",
    "URL:https://", "<https://", "wss://", "http+a://",
]  # fmt: skip


@st.composite
def assembled(draw: st.DrawFn) -> str:
    """A URL put together out of pieces that hardly belong together."""
    pieces = draw(st.lists(st.sampled_from(TRICKS), max_size=4))
    return draw(st.sampled_from(STARTS)) + draw(st.sampled_from(["", *NAMES])) + "".join(pieces)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A plain URL with up to three changes."""
    text = draw(plain)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        rest = draw(st.integers(0, 2))
        put = draw(st.sampled_from(TRICKS) | st.characters(exclude_categories=["Cs"]) | st.sampled_from(["", "FULL"]))
        if put == "FULL":  # the same letters at full width
            put = "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text[at : at + rest])
        text = text[:at] + put + text[at + rest :]
    return text


@pytest.mark.fuzz
@settings(examples(15), phases=[Phase.generate])
@given(st.lists(assembled() | damaged() | plain, min_size=200, max_size=400, unique=True))
def test_no_client_connects_elsewhere_than_the_engine_says(batch: list[str]) -> None:
    assert [each.wrong for each in read(batch) if each.wrong] == []


def test_each_trick_at_each_end_of_each_host_fools_nobody() -> None:
    batch = [
        f"{start}{name}{trick}" for start in STARTS for trick in ["", *TRICKS] for name in ("example.com", "127.0.0.1")
    ]
    batch += [f"https://{trick}{name}{end}" for trick in TRICKS for name in ("", *NAMES) for end in ("", "/", ":80")]
    signs = [trick for trick in TRICKS if len(trick) == 1]
    batch += [f"https://example.com{one}{two}evil.test" for one in signs for two in signs]
    batch += [f"https://evil.test{one}{two}example.com" for one in signs for two in signs]
    found = read(batch)
    assert [each.wrong for each in found if each.wrong] == []
    assert sum(each.listed for each in found) > 100
    assert sum(each.refuted for each in found) > 100
    assert sum(len(each.where) > 0 and not each.listed and not each.refuted for each in found) > 1000
