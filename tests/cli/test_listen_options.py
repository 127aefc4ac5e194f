"""The options about listeners and remote servers: what goes together, and what is said where it does not."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sidecar.cli import app
from sidecar.cli.exposure import exposed, of_approvals, of_clients
from sidecar.cli.listen_options import approvals_on, headers_given, host_of, listen_on, upstream_at
from sidecar.errors import StartError, UsageError
from sidecar.settings import Address, ApprovalsListener, FixedHeader, Jwt, Listen, Settings, Upstream

URL = "http://server.example/mcp"
MARKER = "s3cret"


def listen(transport: str = "http", **changed: Any) -> Listen | None:
    options: dict[str, Any] = {
        "bind": "127.0.0.1", "port": 8080, "path": None, "hosts": [], "origins": [], "token_file": None,
        "jwt": (None, None, None), "max_sessions": 5, "max_each": None, "idle": 60.0, **changed,
    }  # fmt: skip
    return listen_on(transport, **options)


def upstream(
    *headers: str, url: str | None = URL, forward: bool = False, names: Sequence[str] = ()
) -> Upstream | None:  # fmt: skip
    return upstream_at(url, headers, forward_authorization=forward, forward_headers=names)


def fixed(header: str) -> FixedHeader:
    there = upstream(header)
    assert there is not None
    return there.headers[0]


# Listeners.


def test_a_listener_has_what_the_options_say() -> None:
    assert listen("http", hosts=["a"], origins=["b"], token_file=Path("t"), jwt=("k", "i", "a")) == Listen(
        "http", Address("127.0.0.1", 8080), "/mcp", ("a",), ("b",), Path("t"), Jwt("k", "i", "a"), 5, 3, 60.0
    )
    legacy = listen("sse")
    assert legacy is not None
    assert legacy.transport == "sse"
    assert listen("stdio") is None


@pytest.mark.parametrize("jwt", [("k", None, None), ("k", "i", None), ("k", None, "a"), ("k", "", "a")])
def test_keys_are_no_use_without_whose_tokens_they_verify(jwt: tuple[str | None, ...]) -> None:
    with pytest.raises(UsageError, match="--jwt-jwks needs --jwt-issuer and --jwt-audience: whose tokens"):
        listen(jwt=jwt)


@pytest.mark.parametrize("jwt", [(None, "i", None), (None, None, "a")])
def test_whose_tokens_is_no_use_without_keys(jwt: tuple[str | None, ...]) -> None:
    with pytest.raises(UsageError, match="--jwt-issuer and --jwt-audience need --jwt-jwks"):
        listen(jwt=jwt)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("bind", "127.0.0.1"), ("port", "8080"), ("path", "/team-a/mcp"), ("max-sessions", "5"),
        ("max-sessions-each", "5"), ("session-idle", "30m"), ("auth-token-file", "t"), ("allow-host", "h"),
        ("allow-origin", "http://o"), ("jwt-jwks", "k"), ("jwt-issuer", "i"), ("jwt-audience", "a"),
    ],
)  # fmt: skip
def test_an_option_of_a_listener_is_refused_where_there_is_none(option: str, value: str, ran: list[Settings]) -> None:
    words = [f"--{option}", value]
    problem = invoke(*words, "--", "server")
    assert isinstance(problem, UsageError)
    assert str(problem) == (
        f"nobody calls over HTTP here: --{option} would do nothing; options of a listener need --transport http or sse"
    )
    assert ran == []
    with_a_listener = invoke(*words, "--transport", "http", "--", "server")
    # A JWT needs all three.
    assert with_a_listener is None or (option.startswith("jwt-") and "--jwt-" in str(with_a_listener))


def test_the_environment_does_not_take_a_listener_its_guard(ran: list[Settings]) -> None:
    """A guard that is named by halves is wrong usage wherever it stands."""
    for half in ({"SIDECAR_JWT_JWKS": "k"}, {"SIDECAR_JWT_ISSUER": "i"}, {"SIDECAR_JWT_AUDIENCE": "a"}):
        assert isinstance(invoke("--transport", "http", "--", "server", **half), UsageError)
    assert ran == []


def test_an_environment_for_several_sidecars_may_name_a_port_that_one_on_stdio_does_not_have(
    ran: list[Settings],
) -> None:
    environment = {
        "SIDECAR_PORT": "8080", "SIDECAR_BIND": "0.0.0.0", "SIDECAR_PATH": "/a/mcp", "SIDECAR_SESSION_IDLE": "5m"
    }  # fmt: skip
    assert invoke("--", "server", **environment) is None
    guards = {"AUTH_TOKEN_FILE": "t", "JWT_ISSUER": "i", "ALLOW_HOST": "h", "ALLOW_ORIGIN": "http://o"}
    assert invoke("--", "server", **{f"SIDECAR_{name}": value for name, value in guards.items()}) is None
    assert [settings.listen for settings in ran] == [None, None]


def test_an_environment_for_several_sidecars_may_name_headers_for_a_server_that_is_no_program(
    ran: list[Settings], inherited: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", MARKER)
    env = {"SIDECAR_HEADER": "Authorization: env:TOKEN", "SIDECAR_FORWARD_HEADER": "X-A"}
    assert invoke("--", "server", **env, SIDECAR_FORWARD_AUTHORIZATION="1") is None
    assert [(settings.upstream, settings.command) for settings in ran] == [(None, ("server",))]
    # The program, which policy binds, must not get what others are shown.
    assert not {"TOKEN", "SIDECAR_HEADER"} & inherited


@pytest.mark.parametrize(
    "words", [("--header", "A: b"), ("--forward-authorization",), ("--forward-header", "X-A")]
)  # fmt: skip
def test_headers_on_the_command_line_are_for_a_remote_server(words: tuple[str, ...], ran: list[Settings]) -> None:
    problem = invoke(*words, "--", "server")
    assert isinstance(problem, UsageError)
    assert str(problem) == (
        f"no remote server is asked here: {words[0]} would do nothing; --header and --forward-… need --upstream"
    )
    assert ran == []


# The path of the endpoint.


@pytest.mark.parametrize(
    ("transport", "given", "served"),
    [
        ("http", None, "/mcp"), ("sse", None, "/sse"), ("http", "/team-a/mcp", "/team-a/mcp"),
        ("sse", "/team-a/sse", "/team-a/sse"), ("sse", "/messages/sse", "/messages/sse"), ("http", "/", "/"),
        ("sse", "/", "/"), ("http", "/messages", "/messages"), ("http", "/a..b/.c/v1.2~x_y", "/a..b/.c/v1.2~x_y"),
        ("http", "/@a:b/(c)!$&'*+,;=", "/@a:b/(c)!$&'*+,;="),
    ],
)  # fmt: skip
def test_the_endpoint_is_at_the_path_that_is_given(transport: str, given: str | None, served: str) -> None:
    there = listen(transport, path=given)
    assert there is not None
    assert there.path == served


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "begins with a slash: write it as /team-a/mcp"), ("team-a/mcp", "begins with a slash"),
        ("\\team-a", "begins with a slash"), ("https://host/team-a/mcp", "a whole URL: write its path alone"),
        ("/mcp?a=b", "no query and no fragment"), ("/mcp#a", "no query and no fragment"), ("/mcp?", "no query"),
        ("/team a/mcp", '" " cannot stand in it: write letters, digits'), ("/mcp ", '" " cannot'), ("/a%2fmcp", '"%"'),
        ("/a\\mcp", "cannot stand"), ("/mcp\n", "cannot stand"), ("/mcp\x00", "cannot stand"), ("/a\tmcp", "cannot"),
        ("/mcp\x7f", "cannot stand"), ("/tëam/mcp", "cannot stand"), ("/\u202emcp", "cannot stand"), ("/{a}", "cannot"),
        ("/../mcp", 'rewrite "/.."'), ("/a/../mcp", 'rewrite "/.."'), ("/mcp/..", 'rewrite "/.."'),
        ("/./mcp", 'rewrite "/."'), ("/mcp/.", 'rewrite "/."'), ("//mcp", 'rewrite "//"'), ("/a//mcp", 'rewrite "//"'),
        ("//", 'rewrite "//"'), ("/mcp//", 'rewrite "//"'),
        ("/team-a/mcp/", "without the slash at its end: /team-a/mcp"),
    ],
)  # fmt: skip
def test_a_path_that_no_request_or_not_each_client_would_send_is_refused(path: str, problem: str) -> None:
    with pytest.raises(UsageError, match=rf"--path .*{re.escape(problem)}") as refused:
        listen("http", path=path)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("path", ["/messages", "/team-a/messages"])
def test_a_legacy_stream_cannot_stand_where_messages_are_posted(path: str) -> None:
    with pytest.raises(UsageError, match=r"--path .*: clients post their messages there: give the stream another name"):
        listen("sse", path=path)


# Remote servers.


@pytest.mark.parametrize(
    ("url", "legacy"),
    [
        (URL, False), ("http://h/sse", True), ("http://h/a/sse?x=1", True), ("http://h/sse/", False),
        ("http://h/?/sse", False),
    ],
)  # fmt: skip
def test_a_path_that_ends_in_sse_is_the_legacy_transport(url: str, legacy: bool) -> None:
    assert upstream(url=url) == Upstream(url, legacy, (), False)


@pytest.mark.parametrize("url", ["ftp://x", "server.example/mcp", "http://", "http://h:0/", "http://u:hunter2@h/", ""])
def test_what_is_no_url_of_a_server_is_wrong_usage(url: str) -> None:
    with pytest.raises(UsageError, match=r"^--upstream: ") as found:
        upstream(url=url)
    assert "hunter2" not in str(found.value)


def test_the_names_of_headers_that_go_along_are_names_in_any_case() -> None:
    assert upstream(names=["X-Tenant", "x-forwarded-FOR"]) == Upstream(
        URL, False, (), False, ("x-tenant", "x-forwarded-for")
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("X-Tenant: a", "is no name of a header: write it alone"), ("", "is no name"), ("X-*é", "is no name"),
        ("Authorization", "--forward-authorization"), ("cookie", "--forward-authorization"), ("Host", "ours to send"),
        ("Connection", "ours to send"), ("Content-Type", "ours to send"), ("Last-Event-ID", "ours to send"),
    ],
)  # fmt: skip
def test_what_cannot_go_along_is_refused(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"--forward-header .*{why}"):
        upstream(names=[name])


def test_a_header_is_the_clients_or_the_operators() -> None:
    with pytest.raises(UsageError, match="--forward-header and --header x-key: choose whose is sent"):
        upstream("X-Key: a", names=["X-KEY"])


def test_a_header_is_given_once_whatever_its_case() -> None:
    with pytest.raises(UsageError, match="--header gives one header twice"):
        upstream("X-One: 1", "x-one: 2")


def test_credentials_are_ours_or_the_clients() -> None:
    with pytest.raises(UsageError, match="choose whose credentials are sent"):
        upstream("Authorization: Bearer x", forward=True)


def test_a_header_has_a_value_or_is_read_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", f" {MARKER}\n")
    assert fixed("X-Key:  a: b ") == FixedHeader("x-key", "a: b")
    assert fixed("Authorization: env:TOKEN") == FixedHeader("authorization", MARKER)
    assert fixed("Authorization: file:/run/t o") == FixedHeader("authorization", None, Path("/run/t o"))
    assert MARKER not in repr(fixed("Authorization: env:TOKEN"))


@pytest.mark.parametrize("header", [f"{MARKER}", f"a b: {MARKER}", "a:", "a: ", f": {MARKER}", f"a: {MARKER}\nb: c"])
def test_what_is_no_header_is_refused_without_being_shown(header: str) -> None:
    with pytest.raises(UsageError, match="a --header is written") as refused:
        upstream(header)
    assert MARKER not in str(refused.value)


@pytest.mark.parametrize("name", ["Host", "Content-Length", "content-type", "Transfer-Encoding", "Mcp-Session-Id"])
def test_a_header_that_is_ours_to_send_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--header {name.lower()}: this one is ours to send"):
        upstream(f"{name}: x")


@pytest.mark.parametrize("value", [f"{MARKER}€", f"{MARKER}\r\nx: y", " "])
def test_a_value_that_no_header_can_carry_is_refused_without_being_shown(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", value)
    with pytest.raises(UsageError, match="its value is empty or has characters that no header can carry") as refused:
        upstream("A: env:TOKEN")
    assert MARKER not in str(refused.value)


def test_a_variable_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    with pytest.raises(UsageError, match="--header a: the environment has no TOKEN"):
        upstream("A: env:TOKEN")


def test_headers_in_the_environment_stand_one_a_line_and_an_option_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert headers_given(None) == []
    monkeypatch.setenv("SIDECAR_HEADER", "Authorization: Bearer a b\n\nX-Two: 2\n")
    assert headers_given(None) == headers_given([]) == ["Authorization: Bearer a b", "X-Two: 2"]
    assert headers_given(["A: b"]) == ["A: b"]


@pytest.mark.parametrize(("url", "host"), [(URL, "server.example"), ("http://[::1]:1/", "::1"), ("x", "x")])
def test_a_remote_server_is_called_after_its_host(url: str, host: str) -> None:
    assert host_of(url) == host


# The approvals' listener.


def approvers(folder: Path) -> Path:
    path = folder / "approvers.yaml"
    path.touch(mode=0o600)
    return path


def test_nobody_answers_approvals_over_http_unless_that_is_asked_for() -> None:
    assert approvals_on(None, None, None, ["h"]) is None


def test_links_to_approvals_begin_with_the_address_or_with_what_is_said(tmp_path: Path) -> None:
    file = approvers(tmp_path)
    at = Address("127.0.0.1", 8700)
    assert approvals_on("127.0.0.1:8700", file, None, ["h"]) == ApprovalsListener(
        at, file, "http://127.0.0.1:8700", ("h",)
    )
    six = approvals_on("[::1]:8700", file, None, [])
    assert six is not None
    assert six.url == "http://[::1]:8700"
    named = approvals_on("127.0.0.1:8700", file, "https://approvals.example/", ["h"])
    assert named == ApprovalsListener(at, file, "https://approvals.example", ("h", "approvals.example:443"))


def test_nobody_answers_approvals_without_a_token() -> None:
    with pytest.raises(UsageError, match=r"--approvals needs --approvers-file: .* nobody answers without a token"):
        approvals_on("127.0.0.1:8700", None, None, [])


@pytest.mark.parametrize(
    ("file", "url", "named"),
    [(Path("a"), None, "--approvers-file"), (None, "http://h", "--approvals-url"), (Path("a"), "http://h", "--appr")],
)
def test_who_approves_is_no_question_without_a_listener(file: Path | None, url: str | None, named: str) -> None:
    with pytest.raises(UsageError, match=f"{named}.* needs --approvals HOST:PORT"):
        approvals_on(None, file, url, [])


@pytest.mark.parametrize(
    "url", ["approvals.example", "ftp://h", "http://", "http://u:p@h", "http://h/path", "http://h?x", "http://h#x", ""]
)
def test_what_no_link_can_begin_with_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--approvals-url"):
        approvals_on("127.0.0.1:8700", approvers(tmp_path), url, [])


def test_a_list_of_approvers_that_anybody_can_write_is_refused(tmp_path: Path) -> None:
    file = approvers(tmp_path)
    file.chmod(0o666)
    with pytest.raises(StartError, match="--approvers-file: everybody may write"):
        approvals_on("127.0.0.1:8700", file, None, [])


def test_a_listener_that_other_machines_reach_is_warned_of(tmp_path: Path) -> None:
    def warned(where: str, url: str | None = None) -> list[str]:
        listener = approvals_on(where, approvers(tmp_path), url, [])
        assert listener is not None
        return list(of_approvals(listener))

    assert warned("127.0.0.1:8700") == warned("localhost:8700") == warned("[::1]:8700") == []
    (plain,) = warned("10.0.0.1:8700")
    assert "tokens travel there as plain text" in plain
    assert warned("0.0.0.0:8700", "https://approvals.example") == [plain.replace("10.0.0.1", "0.0.0.0")]


OPEN = "lets whoever reaches this port call without showing who it is"
TUNNEL = "--allow-host mcp.example.com lets whoever reaches a tunnel or a proxy to this port call without showing who"
UNSERVED = "clients on other machines get 421"


@pytest.mark.parametrize(
    ("changed", "warned"),
    [
        ({"bind": "127.0.0.1"}, []), ({"bind": "127.8.0.1"}, []), ({"bind": "localhost"}, []), ({"bind": "::1"}, []),
        ({"bind": "127.0.0.1", "hosts": ["localhost:*", "127.0.0.1:80", "[::1]", "Localhost."]}, []),
        ({"bind": "127.0.0.1", "hosts": ["localhost", "mcp.example.com"]}, [TUNNEL]),
        ({"bind": "::1", "hosts": ["mcp.example.com"], "jwt": ("https://k.example", "i", "a")}, []),
        ({"bind": "0.0.0.0"}, [OPEN, UNSERVED]), ({"bind": "::"}, [OPEN, UNSERVED]),
        ({"bind": "0:0::0"}, [OPEN, UNSERVED]), ({"bind": ""}, [OPEN, UNSERVED]),
        ({"bind": "0"}, [OPEN, UNSERVED]), ({"bind": "0x0"}, [OPEN, UNSERVED]), ({"bind": "0.0"}, [OPEN, UNSERVED]),
        # They come by that very address.
        ({"bind": "10.0.0.5"}, [OPEN]), ({"bind": "agents.example"}, [OPEN]),
        ({"bind": "0.0.0.0", "hosts": ["mcp.example.com"]}, [OPEN]),
        ({"bind": "0.0.0.0", "jwt": ("https://k.example", "i", "a")}, [UNSERVED]),
        ({"bind": "0.0.0.0", "jwt": ("https://k.example", "i", "a"), "hosts": ["mcp.example.com"]}, []),
    ],
)  # fmt: skip
def test_a_listener_for_anybody_and_one_for_nobody_is_warned_of(changed: dict[str, Any], warned: list[str]) -> None:
    listener = listen(**changed)
    assert listener is not None
    found = list(of_clients(listener))
    assert len(found) == len(warned)
    for text, part in zip(found, warned, strict=True):
        assert part in text
        assert text.startswith((f"--bind {changed['bind']} ", TUNNEL))


@pytest.mark.parametrize("where", ["127.0.0.1:0", "0.0.0.0:8700", "0:8700", "[::]:8700"])
def test_links_lead_to_an_address_that_can_be_visited(where: str, tmp_path: Path) -> None:
    file = approvers(tmp_path)
    with pytest.raises(UsageError, match="which no link can lead to: say how people come with --approvals-url"):
        approvals_on(where, file, None, [])
    named = approvals_on(where, file, "http://localhost:8700", [])
    assert named is not None
    assert named.url == "http://localhost:8700"


# The whole command.


def invoke(*words: str, **env: str) -> BaseException | None:
    return CliRunner().invoke(app, ["run", "-c", "policy.yaml", *words], env=env).exception


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_file_of_a_header_that_every_user_can_read_is_warned_of(mode: int, ran: list[Settings]) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # every user gets as far as here
        Path(folder).chmod(0o755)
        path = Path(folder) / "key"
        path.write_text("secret\n")
        path.chmod(mode)
        invoke("--upstream", URL, "--header", f"X-Key: file:{path}", "--header", "X-Plain: a")
        found = list(exposed(ran[0]))
    readable = f"--header x-key: every user of this machine can read {path}: `chmod o-r {path}`"
    assert [text.startswith(readable) for text in found] == [True] * (mode == 0o644)


def test_every_option_of_a_listener_may_stand_in_the_environment(ran: list[Settings]) -> None:
    env = {
        "TRANSPORT": "http", "BIND": "0.0.0.0", "PORT": "0", "UPSTREAM": URL, "HEADER": "X-Key: a b",
        "AUTH_TOKEN_FILE": "tokens", "JWT_JWKS": "k", "JWT_ISSUER": "i", "JWT_AUDIENCE": "a", "ALLOW_HOST": "h1 h2",
        "ALLOW_ORIGIN": "http://o", "MAX_SESSIONS": "7", "MAX_SESSIONS_EACH": "5", "SESSION_IDLE": "2m",
        "FORWARD_AUTHORIZATION": "1", "FORWARD_HEADER": "X-One x-two", "PATH": "/team-a/mcp",
    }  # fmt: skip
    invoke(**{f"SIDECAR_{name}": value for name, value in env.items()})
    [settings] = ran
    assert settings.listen == Listen(
        "http", Address("0.0.0.0", 0), "/team-a/mcp", ("h1", "h2"), ("http://o",), Path("tokens"),
        Jwt("k", "i", "a"), 7, 5, 120.0,
    )  # fmt: skip
    assert settings.upstream == Upstream(URL, False, (FixedHeader("x-key", "a b"),), True, ("x-one", "x-two"))
    assert (settings.server, settings.telemetry) == ("server.example", Address("127.0.0.1", 9464))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "no MCP server: write its command after --"),
        (("--upstream", URL, "--", "server"), "two MCP servers"),
        (("--transport", "ws", "--", "server"), "--transport must be stdio or http or sse, not 'ws'"),
        (("--audit", "stdout", "--", "server"), "--audit stdout is not possible here"),
        (("--session-idle", "0s", "--", "server"), "'0s' is no duration"),
        (("--transport", "http", "--path", "mcp", "--", "server"), '--path "mcp": a path begins with a slash'),
    ],
)
def test_what_does_not_go_together_is_said(words: tuple[str, ...], text: str, ran: list[Settings]) -> None:
    problem = invoke(*words)
    assert isinstance(problem, UsageError)
    assert text in str(problem)
    assert ran == []


def test_the_approvals_listener_may_stand_in_the_environment_beside_any_transport(
    ran: list[Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = approvers(tmp_path)
    env = {
        "APPROVALS": "0.0.0.0:8700", "APPROVERS_FILE": str(file), "APPROVALS_URL": "https://a.example",
        "ALLOW_HOST": "h1",
    }  # fmt: skip
    environment = {f"SIDECAR_{name}": value for name, value in env.items()}
    wanted = ApprovalsListener(Address("0.0.0.0", 8700), file, "https://a.example", ("h1", "a.example:443"))
    assert invoke("--", "server", **environment) is None
    assert invoke("--transport", "http", "--", "server", **environment) is None
    on_stdio, on_http = ran
    assert on_stdio.approvals == on_http.approvals == wanted
    assert on_stdio.listen is None
    assert on_http.listen is not None
    assert on_http.listen.allow_hosts == ("h1",)


def test_the_help_shows_defaults_that_stand_in_brackets() -> None:
    shown = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}, terminal_width=200).output
    for text in ("[default: start one]", "[env var: SIDECAR_HEADER, one a line]", "[default: loopback names]"):
        assert text in shown
