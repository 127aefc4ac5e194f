from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench import client
from tests.bench.contenders import ONE_RULE, SERVER, Contender, Peer, contenders, expand, peers
from tests.bench.errors import Failed
from tests.bench.figures import Figures, Measured, Sample, Spread, added, figures, percentile, ratio, sample, spread
from tests.bench.http_client import body_of, is_whole
from tests.bench.picture import draw
from tests.bench.runs import Extent, run
from tests.bench.table import table

DIRECT, RELAY, OPA, REPEATED, NEW, COUNTED, PEER, PEER_COUNTED, *HTTP = contenders(
    [Peer("other", "other -- {server}"), Peer("other", "other --port {port} {upstream}", "http")]
)
HTTP_DIRECT, HTTP_RELAY, HTTP_REPEATED, HTTP_NEW, _, HTTP_PEER, _ = HTTP


def measured(contender: Contender, p50: float, rate: float = 1000.0, rounds: int = 2) -> Measured:
    return Measured(contender, (Sample(p50, 2 * p50, 3 * p50, rate),) * rounds)


def shown(item: Figures | None) -> Figures:
    assert item is not None
    return item


# Figures.


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (0.001, 1), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7], 0.99) == 7


def test_a_sample_is_in_microseconds_whatever_the_order_of_the_calls() -> None:
    assert sample([3000, 1000, 2000], 9.0) == Sample(2.0, 3.0, 3.0, 9.0)


def test_the_added_time_is_taken_from_the_same_round() -> None:
    samples = [Sample(30, 40, 50, 5), Sample(100, 110, 120, 6)]
    direct = [Sample(10, 15, 20, 9), Sample(60, 61, 62, 9)]
    assert added(samples, direct) == [Sample(20, 25, 30, 5), Sample(40, 49, 58, 6)]


def test_a_spread_is_median_least_and_greatest() -> None:
    assert spread([5.0, 1.0, 2.0]) == Spread(2.0, 1.0, 5.0)


@pytest.mark.parametrize("other", [0.0, -3.0])
def test_nothing_is_a_multiple_of_no_time(other: float) -> None:
    assert ratio(4.0, other) is None


def test_ratios_are_of_added_time_and_of_calls() -> None:
    everybody = [measured(DIRECT, 10), measured(RELAY, 30, 4000), measured(REPEATED, 50, 1000), measured(PEER, 90, 500)]
    item = shown(figures(everybody)[2])
    assert item.p50.median == 40
    assert (item.time_to_relay, item.time_to_peer) == (2.0, 0.5)
    assert (item.rate_to_relay, item.rate_to_peer) == (0.25, 2.0)


def test_a_peer_is_compared_under_the_same_policy() -> None:
    everybody = [measured(DIRECT, 0), measured(COUNTED, 40), measured(PEER, 10), measured(PEER_COUNTED, 80)]
    assert shown(figures(everybody)[1]).time_to_peer == 0.5


def test_what_comes_over_http_is_compared_with_http_only() -> None:
    pipes = [measured(DIRECT, 10), measured(RELAY, 20), measured(PEER, 30)]
    http = [
        measured(HTTP_DIRECT, 100),
        measured(HTTP_RELAY, 150),
        measured(HTTP_REPEATED, 200),
        measured(HTTP_PEER, 500),
    ]
    item = shown(figures(pipes + http)[5])
    assert (item.p50.median, item.time_to_relay, item.time_to_peer) == (100, 2.0, 0.25)


def test_the_direct_way_of_one_transport_may_fail_alone() -> None:
    everybody = [
        measured(DIRECT, 10),
        measured(RELAY, 20),
        Measured(HTTP_DIRECT, (), "it ended"),
        measured(HTTP_NEW, 9),
    ]
    assert [item is None for item in figures(everybody)] == [False, False, True, True]


def test_nothing_is_taken_off_the_direct_way_and_off_opa() -> None:
    direct, opa = figures([measured(DIRECT, 10), measured(OPA, 200)])
    assert (shown(direct).p50.median, shown(opa).p50.median) == (10, 200)
    assert shown(opa).time_to_relay is None


def test_without_the_direct_way_nothing_has_figures() -> None:
    assert figures([Measured(DIRECT, (), "it ended"), measured(RELAY, 30)]) == [None, None]


# Contenders.


def test_peers_are_names_and_commands() -> None:
    entries = ["a=one -c {policy} -- {server}", " ", "b = two --x=y {server} ", "a=http: one {port} {upstream}"]
    assert peers(entries) == [
        Peer("a", "one -c {policy} -- {server}"),
        Peer("b", "two --x=y {server}"),
        Peer("a", "one {port} {upstream}", "http"),
    ]


@pytest.mark.parametrize(
    "entries",
    [["one {server}"], ["=one {server}"], ["a="], ["a=one"], ["a=x {server}", "a=y {server}"], ["a='{server}"],
     ["a=http:x {server}"], ["a=http:x {port}"], ["a=http:"], ["a=http:x {port} {upstream}"] * 2],
)  # fmt: skip
def test_a_peer_that_cannot_be_meant_is_refused(entries: list[str]) -> None:
    with pytest.raises(ValueError, match=r"peer|server|upstream|port|quotation"):
        peers(entries)


def test_the_server_is_several_words_or_quoted_in_one() -> None:
    values = {"policy": "/p", "state": "/s"}
    words = expand(["p", "{policy}", "--in={state}", "{server}", "sh {server}"], values, ["run", "a b"])
    assert words == ["p", "/p", "--in=/s", "run", "a b", "sh run 'a b'"]


def test_each_peer_takes_part_under_both_policies() -> None:
    assert [(one.name, one.counted) for one in (PEER, PEER_COUNTED)] == [("other", False), ("other, counted", True)]
    assert PEER_COUNTED.policy == COUNTED.policy != PEER.policy == REPEATED.policy == NEW.policy


# Replies.


def reply(id_: int, text: str = "ok") -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"%b"}]}}\n' % (id_, text.encode())


def test_replies_may_come_in_any_order_and_spelling() -> None:
    spelled = b'{"result": {"content": [{"type": "text", "text": "ok"}]}, "id": 1, "jsonrpc": "2.0"}\n'
    client.check([1, 2], reply(2) + spelled)


@pytest.mark.parametrize(
    "data",
    [
        reply(1),
        reply(1) + reply(1),
        reply(1) + reply(3),
        reply(1) + reply(2) + reply(2),
        reply(1) + reply(2, "another"),
        reply(1) + b'{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"no"}}\n',
        reply(1) + b'{"jsonrpc":"2.0","id":2,"result":{"isError":true,"content":[{"type":"text","text":"ok"}]}}\n',
        reply(1) + b"ready\n",
    ],
)
def test_a_reply_too_few_too_many_or_no_result_is_a_failure(data: bytes) -> None:
    with pytest.raises(Failed):
        client.check([1, 2], data)


JSON = b'{"jsonrpc":"2.0"}'
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n" + JSON,
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n"
    + JSON[:7] + b"\r\na\r\n" + JSON[7:] + b"\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"2c\r\nid: 1\r\ndata: \r\n\r\ndata: " + JSON + b"\r\n\r\n\r\n0\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_over_http_is_whole_only_at_its_end_however_it_is_framed(answer: bytes) -> None:
    assert [is_whole(answer[:size]) for size in range(len(answer))] == [False] * len(answer)
    assert is_whole(answer)
    assert body_of(answer) == JSON


def test_a_status_that_is_no_success_is_a_failure() -> None:
    with pytest.raises(Failed, match="503"):
        body_of(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno")


# Table and picture.

EVERYBODY = [
    measured(DIRECT, 10, 1_000_000),
    measured(RELAY, 30),
    Measured(REPEATED, measured(REPEATED, 50).samples, asked=0.0),
    Measured(PEER, (), "no reply within 20 s"),
]


def test_the_table_is_aligned_and_says_what_failed() -> None:
    lines = table(EVERYBODY, figures(EVERYBODY), "2 rounds").splitlines()
    assert lines[0].split()[:3] == ["contender", "p50", "µs"]
    for line in lines[2:5]:
        assert line.index(")") == lines[0].index(")")
    assert lines[2].split() == [
        "direct",
        "*",
        "10",
        "(10-10)",
        "20",
        "30",
        "1,000,000",
        "(1,000,000-1,000,000)",
        "1000.00",
    ]
    assert lines[4].split()[-1] == "0.0%"
    assert lines[5] == "other: FAILED: no reply within 20 s"


def test_the_table_says_what_every_row_means() -> None:
    text = table(EVERYBODY, figures(EVERYBODY), "2 rounds")
    for one in EVERYBODY:
        assert one.contender.meaning in text
    assert text.endswith("2 rounds")


def test_without_a_peer_the_table_has_no_column_for_one() -> None:
    alone = EVERYBODY[:3]
    assert "×other" not in table(alone, figures(alone), "")


def test_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        draw(EVERYBODY, figures(EVERYBODY), "a machine", tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert ElementTree.parse(tmp_path / "one.svg").getroot().tag.endswith("svg")


# The whole.


@pytest.mark.slow
def test_everybody_answers_every_call(tmp_path: Path) -> None:
    proxy = DIRECT.command[0]
    http = Peer("same", " ".join(HTTP_RELAY.command), "http")
    results = run(contenders([Peer("same", f"env {proxy}"), http]), Extent(rounds=2, calls=5, in_flight=40), tmp_path)
    assert [(one.contender.name, one.failure) for one in results if one.failure] == []
    assert all(len(one.samples) == 2 for one in results)
    assert [one.asked for one in results if one.contender in (OPA, NEW, HTTP_NEW)] == [1.0, 1.0, 1.0]


def test_whoever_fails_is_reported_and_stops_nobody(tmp_path: Path) -> None:
    python, *_, server = SERVER
    no_count = f"exec(open({server!r}).read().replace('calls += 1', 'pass'))"
    entrants = [
        Contender("absent", "peer", "", ("/no/such/program", "{server}")),
        Contender("silent", "peer", "", ("sh", "-c", "echo out of order >&2")),
        Contender("faking", "peer", "", (python, "-c", no_count)),
        replace(REPEATED, policy=ONE_RULE.replace("1000000000", "0")),
        DIRECT,
    ]
    results = run(entrants, Extent(rounds=2, calls=5, in_flight=40), tmp_path)
    for one, reason in zip(
        results, ["cannot be started", "out of order", "0 came to the server", "too large"], strict=False
    ):
        assert reason in (one.failure or "")
    assert results[-1].failure is None
