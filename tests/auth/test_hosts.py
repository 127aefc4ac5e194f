"""Host and Origin: a page whose name resolves to loopback gets nothing, whatever spelling it finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.auth.hosts import Hosts
from sidecar.errors import UsageError

LOCAL = Hosts("127.0.0.1", 8080)


def host_of(hosts: Hosts, host: str | None) -> int:
    """The status that a request with this Host gets; 0 for one that goes on."""
    refusal = hosts.check(host, None)
    return refusal.status if refusal else 0


def origin_of(hosts: Hosts, origin: str) -> int:
    refusal = hosts.check("localhost:8080", origin)
    return refusal.status if refusal else 0


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:8080", "LocalHost:8080", "localhost.", "localhost.:8080", "127.0.0.1", "127.0.0.1:8080",
        "127.1.2.3:8080", "[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]:8080",
    ],
)  # fmt: skip
@pytest.mark.parametrize("bind", ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.5"])
def test_loopback_names_are_admitted_with_our_port_or_none_whatever_we_bind(bind: str, host: str) -> None:
    assert host_of(Hosts(bind, 8080), host) == 0


BAD_HOSTS = [
    None, "", " ", ".", ":", ":8080", "evil.example", "evil.example:8080", "localhost.evil.example", "evil.localhost",
    "localhost..", "localhost:", "localhost:0", "localhost:08080", "localhost:80800", "localhost:8080:8080",
    "localhost:+8080", "localhost:8080 ", " localhost:8080", "localhost:80", "localhost:8081", "localhost:x",
    "localhost:８０８０", "ｌocalhost", "localhoſt", "lоcalhost", "localhost\x00", "localhost\n",
    "localhost,evil.example",
    "localhost@evil.example", "evil.example@localhost", "evil.example@localhost:8080", "user:pass@localhost",
    "localhost/", "localhost/evil", "localhost#", "localhost?", "http://localhost", "localhost%2e", "%6cocalhost",
    "127.1", "127.1:8080", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01", "2130706433", "127.0.0.1.evil.example",
    "128.0.0.1", "0.0.0.0", "0.0.0.0:8080", "10.0.0.5:8080", "[::]", "[::]:8080", "::1", "::1:8080", "[::1", "::1]",
    "[::1]8080", "[[::1]]", "[::1%lo]", "[::1%25lo]:8080", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]:8080", "[127.0.0.1]",
    "[localhost]", "[]", "[]:8080", "[::2]:8080", "*", "*:8080", "127.0.0.1:*", "localhost:*",
]  # fmt: skip


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_any_other_host_is_misdirected(host: str | None) -> None:
    assert host_of(LOCAL, host) == 421
    assert LOCAL.check(host, "http://localhost:8080") is not None


def test_a_refusal_says_what_to_do_and_nothing_of_what_was_sent() -> None:
    refusal = LOCAL.check("evil.example", None)
    assert refusal is not None
    assert "--allow-host" in refusal.text
    assert "evil" not in refusal.text


def test_the_address_that_we_bind_is_admitted_with_our_port_only() -> None:
    hosts = Hosts("10.0.0.5", 8080)
    assert [host_of(hosts, host) for host in ("10.0.0.5:8080", "10.0.0.5", "10.0.0.5:80", "10.0.0.6:8080")] == [
        0, 421, 421, 421,
    ]  # fmt: skip
    six = Hosts("FD00::0:1", 8080)
    assert host_of(six, "[fd00::1]:8080") == 0
    assert host_of(six, "[fd00::2]:8080") == 421


def test_the_port_that_the_scheme_implies_may_be_left_out() -> None:
    assert host_of(Hosts("10.0.0.5", 80), "10.0.0.5") == 0
    assert host_of(Hosts("0.0.0.0", 8080, ["mcp.example.com:443"]), "mcp.example.com") == 0


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::", "0:0::0", ""])
def test_a_wildcard_address_is_no_name(wildcard: str) -> None:
    hosts = Hosts(wildcard, 8080)
    assert {host_of(hosts, host) for host in ("0.0.0.0:8080", "[::]:8080", ":8080", "evil.example:8080")} == {421}


def test_an_allowed_host_is_admitted_with_its_port_or_any() -> None:
    hosts = Hosts("0.0.0.0", 8080, ["Mcp.Example.com", "one.example.com:9000", "star.example.com:*", "[FD00::1]"])
    admitted = ["mcp.example.com", "MCP.example.COM.:1", "one.example.com:9000", "star.example.com:7", "[fd00::1]:3"]
    refused = ["x.mcp.example.com", "one.example.com", "one.example.com:9001", "mcp.example.com.evil", "[fd00::2]"]
    assert {host_of(hosts, host) for host in admitted} == {0}
    assert {host_of(hosts, host) for host in refused} == {421}


def test_an_allowed_loopback_name_has_any_port() -> None:
    assert host_of(Hosts("127.0.0.1", 8080, ["localhost:*"]), "localhost:9") == 0
    assert host_of(Hosts("127.0.0.1", 8080, ["localhost:*"]), "127.0.0.1:9") == 421


@pytest.mark.parametrize(
    "origin",
    ["http://localhost", "http://localhost:3000", "HTTPS://LOCALHOST:1", "http://127.0.0.1:5", "http://[::1]:5"],
)
def test_pages_on_loopback_are_admitted_on_any_port(origin: str) -> None:
    assert origin_of(LOCAL, origin) == 0


@pytest.mark.parametrize(
    "origin",
    [
        "", "null", "NULL", "http://evil.example", "http://evil.example:8080", "http://localhost.evil.example",
        "http://localhost@evil.example", "http://evil.example@localhost", "http://localhost/", "http://localhost/x",
        "http://localhost:0", "http://localhost:99999", "http://localhost http://evil.example", "localhost",
        "//localhost", "ftp://localhost", "file://", "file://localhost", "chrome-extension://abc", "http://",
        "http:/localhost", "http://127.1", "http://[::ffff:127.0.0.1]", "http://0.0.0.0:8080", "http://ｌocalhost",
        " http://localhost", "http://localhost\t", "*", "javascript://localhost",
    ],
)  # fmt: skip
def test_pages_from_elsewhere_are_forbidden(origin: str) -> None:
    assert origin_of(LOCAL, origin) == 403


def test_an_allowed_origin_is_admitted_exactly() -> None:
    hosts = Hosts("127.0.0.1", 8080, (), ["https://App.example.com", "vscode-webview://abc", "http://a.example:81"])
    admitted = ["https://app.example.com", "https://APP.example.com:443", "vscode-webview://abc", "http://a.example:81"]
    refused = [
        "http://app.example.com", "https://app.example.com:8443", "https://x.app.example.com", "null",
        "http://a.example", "https://a.example:81",
    ]  # fmt: skip
    assert {origin_of(hosts, origin) for origin in admitted} == {0}
    assert {origin_of(hosts, origin) for origin in refused} == {403}


def test_null_is_admitted_only_by_name() -> None:
    assert origin_of(Hosts("127.0.0.1", 8080, (), ["null"]), "null") == 0


@pytest.mark.parametrize(
    "value", ["", "*", "http://a.example", "a.example/x", "a:0", "a:99999", "ä.example", "::1", "u@a"]
)
def test_a_host_to_allow_that_could_never_match_is_wrong_usage(value: str) -> None:
    with pytest.raises(UsageError, match=r"--allow-host .* write mcp\.example\.com"):
        Hosts("127.0.0.1", 8080, [value])


@pytest.mark.parametrize(
    "value", ["", "*", "a.example", "https://a.example/", "https://ä.example", "https://u@a.example"]
)
def test_an_origin_to_allow_that_could_never_match_is_wrong_usage(value: str) -> None:
    with pytest.raises(UsageError, match=r"--allow-origin .* write https://app\.example\.com"):
        Hosts("127.0.0.1", 8080, (), [value])


NAMES = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.1",
    "0.0.0.0",
    "[::ffff:7f00:1]",
    "app",
]


@given(
    name=st.sampled_from(NAMES),
    flips=st.lists(st.booleans(), min_size=40, max_size=40),
    before=st.sampled_from(["", ".", " ", "localhost@", "u:p@", "//"]),
    after=st.sampled_from(["", ".", "..", " ", "#", "/localhost", "@localhost", "%00", "\x00", ",localhost"]),
    port=st.sampled_from(["", ":", ":8080", ":80", ":443", ":0", ":*", ":8080:8080", ":99999", ":8080@localhost:8080"]),
)
def test_no_spelling_of_a_foreign_name_is_admitted(
    name: str, flips: list[bool], before: str, after: str, port: str
) -> None:
    spelt = "".join(char.upper() if flip else char for char, flip in zip(name, flips, strict=False))
    hosts = Hosts("10.0.0.5", 8080, ["mcp.example.com", "localhost:*"], ["https://good.example"])
    assert host_of(hosts, before + spelt + after + port) == 421
    assert origin_of(hosts, f"http://{before}{spelt}{after}{port}") == 403


@given(st.text(max_size=30))
def test_no_text_but_the_admitted_names_passes(text: str) -> None:
    if host_of(LOCAL, text) == 0:
        bare = text.lower().removesuffix(":8080").removesuffix(".")
        assert bare == "localhost" or bare.startswith(("127.", "[")), text


def test_a_letter_that_only_lowers_to_one_of_a_name_is_another_letter() -> None:
    hosts = Hosts("127.0.0.1", 8080, ["kube.example"], ["https://kube.example"])
    assert host_of(hosts, "KUBE.example") == 0
    assert host_of(hosts, "\u212aube.example") == 421
    assert origin_of(hosts, "https://\u212aube.example") == 403


def test_what_was_admitted_once_admits_no_other_pair() -> None:
    assert LOCAL.check("localhost:8080", None) is None
    assert LOCAL.check("localhost:8080", "http://localhost") is None
    assert origin_of(LOCAL, "") == 403
    assert LOCAL.check("evil.example", "http://localhost") is not None
