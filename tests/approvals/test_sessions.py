"""Sessions of the page: who signed in, and what a browser's cookie is worth where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.approvals.approvers import Approvers
from sidecar.approvals.sessions import LASTS, MAX_EACH, MAX_SESSIONS, Session, Sessions
from sidecar.http.values import Headers, Repeated
from sidecar.system.watched_file import LOOK
from tests.approvals.people import ALICE, BOB, EVERYBODY, write
from tests.auth.tokens import Clock

HOST = ("host", "127.0.0.1:9465")


class Browser:
    """Keeps one cookie, and sends it where its path says."""

    def __init__(self, header: tuple[str, str]) -> None:
        pair, *attributes = header[1].split("; ")
        self.pair = pair
        self.attributes = dict(one.partition("=")[::2] for one in attributes)

    def headers(self, path: str) -> Headers:
        return Headers([HOST, ("cookie", self.pair)] if path.startswith(self.attributes["Path"]) else [HOST])


def sessions(tmp_path: Path, *, https: bool = False) -> tuple[Sessions, Clock]:
    clock = Clock()
    approvers = Approvers(write(tmp_path / "people.yaml", *EVERYBODY), clock)
    return Sessions(approvers, "https://approvals.example.com" if https else "http://127.0.0.1:9465", clock), clock


def opened(found: Sessions, token: str, origin: str | None = "https://approvals.example.com") -> Session:
    """Somebody signs in, by a form of an origin."""
    return found.open(token, origin)


def signed_in(found: Sessions, session: Session, path: str, headers: Headers | None = None) -> str | None:
    """Who is signed in for the listener when the browser asks for a path."""
    headers = headers or Browser(found.cookie(session)).headers(path)
    visit = found.visit(path, headers, "127.0.0.1")
    assert (visit.session is None) == (visit.approver is None) == (visit.person is None)
    return visit.approver.name if visit.approver is not None else None


@pytest.mark.parametrize("https", [False, True])
def test_who_signed_in_is_known_at_the_paths_of_the_session(tmp_path: Path, https: bool) -> None:
    found, _ = sessions(tmp_path, https=https)
    session = opened(found, ALICE)
    visit = found.visit(
        f"{session.base}/approvals/x", Browser(found.cookie(session)).headers(f"{session.base}/approvals/x"), "::1"
    )
    assert (visit.path, visit.origin, visit.base) == ("/approvals/x", "::1", session.base)
    assert visit.person is not None
    assert (visit.person.approver.name, visit.person.via, visit.person.origin) == ("alice", "page", "::1")


def test_a_cookie_is_for_nobody_else_and_for_no_script(tmp_path: Path) -> None:
    for https in (False, True):
        found, _ = sessions(tmp_path, https=https)
        session = opened(found, ALICE)
        name, value = found.cookie(session)
        assert name == "set-cookie"
        assert {"HttpOnly", "SameSite=Strict", f"Max-Age={LASTS}"} <= set(value.split("; "))
        assert "Domain" not in value
        assert ("Secure" in value.split("; ")) == value.startswith("__Host-") == https
        assert ALICE not in value
        assert "Max-Age=0" in found.no_cookie(session)[1]
    assert "; Path=/;" in value


def test_who_signs_in_on_loopback_has_a_cookie_for_one_path_though_others_come_by_https(tmp_path: Path) -> None:
    found, _ = sessions(tmp_path, https=True)
    for origin in ("http://127.0.0.1:9465", "https://127.0.0.1:9465", None):
        session = opened(found, ALICE, origin)
        assert session.base
        assert f"; Path={session.base}/;" in found.cookie(session)[1]
        assert signed_in(found, session, f"{session.base}/") == "alice"
        assert signed_in(found, session, "/", Headers([HOST, ("cookie", f"__Host-approvals={session.id}")])) is None
    by_https = opened(found, ALICE)
    assert by_https.base == ""
    assert signed_in(found, by_https, "/", Headers([HOST, ("cookie", f"approvals={by_https.id}")])) is None


def test_a_cookie_that_went_to_another_port_of_this_machine_opens_nothing(tmp_path: Path) -> None:
    found, _ = sessions(tmp_path)
    session = opened(found, ALICE)
    browser = Browser(found.cookie(session))
    # What a browser sends to a page that an agent serves on another port: only what belongs to the path there.
    for path in ("/", "/index.html", "/s/", "/approvals/x"):
        assert browser.headers(path).get("cookie") is None
    # And with a cookie that came into wrong hands, the path is missing still.
    stolen = Headers([HOST, ("cookie", browser.pair)])
    other = opened(found, BOB)
    for path in ("/", "/approvals/x", f"{other.base}/", f"/s/{'A' * 22}/", f"{session.base}x/", session.base):
        assert signed_in(found, session, path, stolen) is None
    assert signed_in(found, session, f"{session.base}/", stolen) == "alice"


def test_the_path_without_the_cookie_opens_nothing(tmp_path: Path) -> None:
    found, _ = sessions(tmp_path)
    session = opened(found, ALICE)
    for cookie in ("", "approvals=", "approvals", f"approvals={'x' * 43}", f"other={session.id}", ALICE):
        assert signed_in(found, session, f"{session.base}/", Headers([HOST, ("cookie", cookie)])) is None


def test_a_cookie_is_found_among_others_and_among_some_of_the_same_name(tmp_path: Path) -> None:
    found, _ = sessions(tmp_path)
    old, session = opened(found, BOB), opened(found, ALICE)
    cookies = f"a=b; approvals={old.id};approvals={session.id}; c"
    assert signed_in(found, session, f"{session.base}/", Headers([HOST, ("cookie", cookies)])) == "alice"


def test_a_session_ends_by_itself_and_by_signing_out(tmp_path: Path) -> None:
    found, clock = sessions(tmp_path)
    one, other = opened(found, ALICE), opened(found, ALICE)
    found.close(one)
    assert not found.stands(one)
    assert signed_in(found, one, f"{one.base}/") is None
    clock.now += LASTS - 1
    assert signed_in(found, other, f"{other.base}/") == "alice"
    assert found.stands(other)
    clock.now += 1
    assert signed_in(found, other, f"{other.base}/") is None
    assert not found.stands(other)


def test_a_session_ends_when_its_approver_is_taken_from_the_file(tmp_path: Path) -> None:
    found, clock = sessions(tmp_path)
    session = opened(found, ALICE)
    write(tmp_path / "people.yaml", *EVERYBODY[1:])
    clock.now += LOOK
    assert signed_in(found, session, f"{session.base}/") is None
    assert not found.stands(session)


def test_sessions_are_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    found, _ = sessions(tmp_path)
    mine = [opened(found, ALICE) for _ in range(MAX_EACH + 3)]
    assert [found.stands(one) for one in mine] == [False] * 3 + [True] * MAX_EACH
    assert found.stands(opened(found, BOB))
    assert len({one.id for one in mine} | {one.base for one in mine} | {one.csrf for one in mine}) == 3 * len(mine)
    assert MAX_SESSIONS > MAX_EACH


def test_a_form_counts_only_with_the_secret_of_its_page_and_from_its_page(tmp_path: Path) -> None:
    found, _ = sessions(tmp_path)
    session, other = opened(found, ALICE), opened(found, BOB)
    own = Headers([HOST, ("origin", "http://127.0.0.1:9465"), ("sec-fetch-site", "same-origin")])
    assert found.may_post(session, own, session.csrf)
    assert found.may_post(session, Headers([HOST]), session.csrf)
    for csrf in ("", other.csrf, session.csrf[:-1], f"{session.csrf}x", session.id, "é"):
        assert not found.may_post(session, own, csrf)
    for headers in (
        [("origin", "http://127.0.0.1:3000")],
        [("origin", "http://localhost:9465")],
        [("origin", "null")],
        [("origin", "")],
        [("sec-fetch-site", "same-site")],
        [("sec-fetch-site", "cross-site")],
    ):
        assert not found.may_post(session, Headers([HOST, *headers]), session.csrf)
    with pytest.raises(Repeated):
        found.may_post(session, Headers([HOST, ("origin", "null"), ("origin", "null")]), session.csrf)


def test_a_session_is_not_shown_with_its_secrets(tmp_path: Path) -> None:
    found, _ = sessions(tmp_path)
    session = opened(found, ALICE)
    for secret in (session.id, session.csrf, session.base, repr(session.token)):
        assert secret not in repr(session)
    assert replace(session, csrf="other") != session
