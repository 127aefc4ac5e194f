"""Ids of events behind a seal: each comes back to the client that was shown it, and to nobody else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream.eventids import EventIds
from sidecar.http.values import Headers

IDS = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1)
CLIENTS = st.tuples(st.text(max_size=3), st.text(max_size=3))


def as_header(text: str) -> str:
    """What arrives of a text that a client sends in a header."""
    (found,) = Headers([("x", text.encode().decode("latin-1"))]).all("x")
    return found


@given(IDS, CLIENTS)
def test_an_id_comes_back_to_its_client_as_the_server_would_have_got_it(id_: str, client: tuple[str, str]) -> None:
    ids = EventIds()
    own = ids.own(as_header(ids.shown(id_, client)), client)
    assert own is not None
    assert own.strip(" \t") == as_header(id_)


@given(IDS, CLIENTS, CLIENTS)
def test_an_id_is_nothing_for_another_client(id_: str, client: tuple[str, str], other: tuple[str, str]) -> None:
    ids = EventIds()
    shown = as_header(ids.shown(id_, client))
    assert client == other or ids.own(shown, other) is None
    assert EventIds().own(shown, client) is None


@given(IDS, st.binary(max_size=60).map(lambda data: data.decode("latin-1")), CLIENTS)
def test_no_other_text_is_an_id(id_: str, guess: str, client: tuple[str, str]) -> None:
    ids = EventIds()
    shown = as_header(ids.shown(id_, client))
    seal = shown[:20]
    for text in (guess, seal + guess, f"{seal}.{guess}", guess + shown[20:], shown.replace(".", "", 1)):
        if text.strip(" \t") != shown:
            assert ids.own(text, client) is None


def test_no_id_stays_no_id() -> None:
    assert EventIds().shown("", ("a", "b")) == ""
