from __future__ import annotations

import json
import math
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from programs.bench import client, processes
from programs.bench.contenders import ONE_RULE, SERVER, Contender, Peer, contenders, expand, peers, starters, watched
from programs.bench.errors import Failed
from programs.bench.figures import (
    Figures,
    Measured,
    Ratios,
    Sample,
    Spread,
    added,
    figures,
    percentile,
    ratio,
    sample,
    spread,
)
from programs.bench.http_client import body_of, is_whole
from programs.bench.large import many_tools, seconds_to_compile
from programs.bench.memory import Held, Memory, memory
from programs.bench.picture import draw
from programs.bench.relay import Parsed
from programs.bench.runs import Extent, run
from programs.bench.server import CALL
from programs.bench.start import Started, starts
from programs.bench.table import memory_table, start_table, table, target_table
from programs.bench.targets import targets
from tests.support.peer import until

PEERS = [
    Peer("other", "other -c {policy} -- {server}"),
    Peer("other", "other -c {policy} --port {port} {upstream}", "http"),
    Peer("fastmcp", "bare {port} {upstream}", "http"),
]
BY_NAME = {one.name: one for one in contenders(PEERS, large=True)}
DIRECT, RELAY, OPA = (BY_NAME[name] for name in ("direct", "relay", "opa alone"))
TOGETHER = BY_NAME["opa alone, 16 together"]
REPEATED, NEW, COUNTED, SHADOWED = (BY_NAME[f"sidecar, {name}"] for name in ("repeated", "new", "counted", "candidate"))
REFUSED, PATTERNS = (BY_NAME[f"sidecar, {name}"] for name in ("refused", "patterns"))
FEW, MANY = BY_NAME["sidecar, 10 tools"], BY_NAME["sidecar, 1,000 tools"]
PEER, PEER_COUNTED = BY_NAME["other"], BY_NAME["other, counted"]
LONG_DIRECT, LONG_RELAY, LONG = (BY_NAME[f"1 MB {name}"] for name in ("direct", "parsing relay", "sidecar"))
HTTP_DIRECT, HTTP_RELAY = BY_NAME["http direct"], BY_NAME["http relay"]
HTTP_REPEATED, HTTP_NEW = (BY_NAME[f"http sidecar, {name}"] for name in ("repeated", "new"))
HTTP_PEER, FASTMCP = BY_NAME["http other"], BY_NAME["http fastmcp"]


def measured(contender: Contender, p50: float, rate: float = 1000.0, rounds: int = 2) -> Measured:
    return Measured(contender, (Sample(p50, 2 * p50, 3 * p50, rate, p50),) * rounds)


def rounds_of(contender: Contender, *p50: float) -> Measured:
    return Measured(contender, tuple(Sample(each, each, each, 1000.0, each) for each in p50))


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
    assert sample([3000, 1000, 2000], 9.0, 2000) == Sample(2.0, 3.0, 3.0, 9.0, 2.0)


def test_the_added_time_is_taken_from_the_same_round() -> None:
    samples = [Sample(30, 40, 50, 5, 9), Sample(100, 110, 120, 6, 9)]
    direct = [Sample(10, 15, 20, 9, 4), Sample(60, 61, 62, 9, 5)]
    assert added(samples, direct) == (Sample(20, 25, 30, 5, 5), Sample(40, 49, 58, 6, 4))


def test_a_spread_is_median_least_and_greatest() -> None:
    assert spread([5.0, 1.0, 2.0]) == Spread(2.0, 1.0, 5.0)


def test_a_ratio_is_taken_within_each_round() -> None:
    # Of the medians it would be 2: the machine was slow in the second round, and both were.
    assert ratio([10, 90, 20], [10, 30, 5]) == Spread(3.0, 1.0, 4.0)


def test_something_is_infinitely_more_than_nothing_and_of_nothing_no_ratio_is_told() -> None:
    assert ratio([4.0, 4.0, -1.0], [2.0, -3.0, 0.0]) == Spread(math.inf, 2.0, math.inf)
    assert ratio([-4.0], [2.0]) == Spread(0, 0, 0)
    assert ratio([0.0], [0.0]) is None


def test_ratios_are_of_added_time_and_of_calls() -> None:
    everybody = [measured(DIRECT, 10), measured(RELAY, 30, 4000), measured(REPEATED, 50, 1000), measured(PEER, 90, 500)]
    item = shown(figures(everybody)[2])
    assert item.p50.median == 40
    assert item.to_relay == Ratios(Spread(2, 2, 2), Spread(2, 2, 2), Spread(0.25, 0.25, 0.25))
    assert item.to_peer == Ratios(Spread(0.5, 0.5, 0.5), Spread(0.5, 0.5, 0.5), Spread(2, 2, 2))


def test_a_peer_is_compared_under_the_same_policy() -> None:
    everybody = [measured(DIRECT, 0), measured(COUNTED, 40), measured(PEER, 10), measured(PEER_COUNTED, 80)]
    assert p50_to_peer(figures(everybody)[1]) == 0.5


def p50_to_peer(item: Figures | None) -> float:
    to_peer = shown(item).to_peer
    assert to_peer is not None
    assert to_peer.p50 is not None
    return to_peer.p50.median


def test_long_calls_are_compared_with_long_calls_only() -> None:
    short = [measured(DIRECT, 10), measured(RELAY, 20), measured(PEER, 30)]
    long = [measured(LONG_DIRECT, 1000), measured(LONG_RELAY, 3000), measured(LONG, 5000)]
    item = shown(figures(short + long)[5])
    assert item.p50.median == 4000
    assert item.to_relay is not None
    assert item.to_relay.p50 == Spread(2, 2, 2)
    assert item.to_peer is None


def test_what_comes_over_http_is_compared_with_http_only() -> None:
    pipes = [measured(DIRECT, 10), measured(RELAY, 20), measured(PEER, 30)]
    http = [
        measured(HTTP_DIRECT, 100),
        measured(HTTP_RELAY, 150),
        measured(HTTP_REPEATED, 200),
        measured(HTTP_PEER, 500),
    ]
    item = shown(figures(pipes + http)[5])
    assert item.p50.median == 100
    assert item.to_relay is not None
    assert item.to_relay.p50 == Spread(2, 2, 2)
    assert p50_to_peer(figures(pipes + http)[5]) == 0.25


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
    assert shown(opa).to_relay is None


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
    assert PEER_COUNTED.policy == COUNTED.policy != PEER.policy == REPEATED.policy == NEW.policy


def test_a_peer_that_gets_no_policy_takes_part_once() -> None:
    assert [name for name in BY_NAME if "fastmcp" in name] == ["http fastmcp"]


def test_the_policies_of_the_bench_are_good_ones(tmp_path: Path) -> None:
    for number, text in enumerate({one.policy for one in [watched(), *starters([]), *BY_NAME.values()]}):
        assert seconds_to_compile(text, tmp_path / str(number)) > 0


def test_the_tool_that_is_called_is_one_of_ten_or_a_thousand() -> None:
    assert [many_tools(tools).count("    rules:") for tools in (10, 1000)] == [10, 1000]
    assert [many_tools(tools).count("- name: rule 9") for tools in (10, 1000)] == [10, 1000]


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


def refusal(id_: int, text: str, is_error: str = "true") -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"%b"}],"isError":%b}}\n' % (
        id_, text.encode(), is_error.encode(),
    )  # fmt: skip


def test_where_calls_are_to_be_refused_only_the_refusal_is_a_reply() -> None:
    client.check([1, 2], refusal(2, "too large") + refusal(1, "too large"), "too large")


@pytest.mark.parametrize(
    "data", [reply(1), reply(1, "too large"), refusal(1, "too small"), refusal(1, "too large", "false"), b""]
)
def test_what_was_to_be_refused_and_was_not_is_a_failure(data: bytes) -> None:
    with pytest.raises(Failed):
        client.check([1], data, "too large")


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


# Long calls, and a relay that reads them.


@pytest.mark.parametrize("sizes", [[1], [7, 30], [1000]])
def test_a_parsing_relay_passes_on_whole_lines_however_they_come(sizes: list[int]) -> None:
    data = b'{"a": 1}\n[ 2 ]\n{"b":"' + b"x" * 100 + b'"}\n"begun'
    parsed, passed, at = Parsed(), b"", 0
    for size in sizes * len(data):
        passed += parsed(data[at : at + size])
        at += size
    assert passed == b'{"a":1}\n[2]\n{"b":"' + b"x" * 100 + b'"}\n'


def test_a_long_call_carries_its_payload_in_an_argument_that_no_rule_reads() -> None:
    _, (line,) = client.PipeClient(0, 0, always_new=False, payload=1_000_000).questions(1)
    call = json.loads(line)
    assert call["params"]["arguments"].keys() == {"sz", "path", "text"}
    assert len(call["params"]["arguments"]["text"]) > 1_000_000
    assert CALL.match(line)


# Processes.


def test_a_tree_is_a_process_and_all_that_it_started() -> None:
    with subprocess.Popen(["sh", "-c", "cat; true"], stdin=subprocess.PIPE) as process:
        try:
            until(lambda: "cat" in map(processes.name, processes.tree(process.pid)), 10, "the shell's child")
            assert len(processes.tree(process.pid)) == 2
            assert processes.resident(process.pid) > 0
            assert processes.cpu_nanoseconds(process.pid) > 0
        finally:
            process.kill()
    assert processes.name(process.pid) == ""
    with pytest.raises(OSError, match=str(process.pid)):
        processes.resident(process.pid)


# Tables and picture.

EVERYBODY = [
    measured(DIRECT, 10, 1_000_000),
    measured(RELAY, 30),
    Measured(REPEATED, measured(REPEATED, 50).samples, asked=0.0),
    Measured(PEER, (), "no reply within 20 s"),
]
MIB = 1 << 20
MEMORY = Memory(watched(), 1000, (Held("sidecar", 40 * MIB, 50 * MIB, 51 * MIB), Held("OPA", 9, 9, 3 * MIB)))
STARTED = [Started(one, (0.5 * at, 0.5 * at + 1)) for at, one in enumerate(starters([]))]


def test_the_table_is_aligned_and_says_what_failed() -> None:
    lines = table(EVERYBODY, figures(EVERYBODY), "2 rounds").splitlines()
    assert lines[0].split()[:3] == ["contender", "p50", "µs"]
    assert lines[2].split() == ["direct", "*", "10", "20", "30", "1,000,000", "10"]
    assert len({line.index(each) for line, each in zip(lines[2:5], ("10 ", "20 ", "40 "), strict=True)}) == 1
    assert lines[4].split()[-1] == "0.0%"
    assert lines[5] == "other: FAILED: no reply within 20 s"


def test_every_ratio_has_its_spread() -> None:
    everybody = [rounds_of(DIRECT, 0, 0), rounds_of(RELAY, 10, 10), rounds_of(REPEATED, 20, 40)]
    rows = table(everybody, figures(everybody), "").splitlines()
    assert [row.split()[2:5] for row in rows if row.startswith("sidecar, repeated ")][1] == [
        "3.00",
        "(2.00-4.00)",
        "1.00",
    ]


def test_the_table_says_what_every_row_means() -> None:
    text = table(EVERYBODY, figures(EVERYBODY), "2 rounds")
    for one in EVERYBODY:
        assert one.contender.meaning in text
    assert text.endswith("2 rounds")


def test_without_a_peer_the_table_has_no_column_for_one() -> None:
    alone = EVERYBODY[:3]
    assert "×peer" not in table(alone, figures(alone), "")


def test_the_table_of_memory_shows_three_moments_and_the_growth() -> None:
    _, _, sidecar, *_ = memory_table(MEMORY).splitlines()
    assert sidecar.split() == ["sidecar", "40.0", "50.0", "51.0", "+1.0"]
    assert memory_table(Memory(watched(), 1000, failure="it ended")) == "sidecar, OKX: FAILED: it ended"


def test_the_table_of_starts_compares_with_the_server_alone() -> None:
    text = start_table([*STARTED, Started(PEER, (), "no reply within 20 s")])
    assert text.splitlines()[3].split()[:5] == ["sidecar", "1.00", "(0.50-1.50)", "0.50", "one"]
    assert text.endswith("other: FAILED: no reply within 20 s")


# Targets.

ALL = [
    measured(one, p50, rate) for one, p50, rate in (
        (DIRECT, 0, 9e5), (TOGETHER, 100, 9000), (REPEATED, 70, 30_000), (NEW, 390, 5000), (COUNTED, 90, 30_000),
        (SHADOWED, 73, 30_000),
        (FEW, 600, 1), (MANY, 610, 1), (PEER, 100, 20_000), (PEER_COUNTED, 100, 10_000),
        (LONG_DIRECT, 0, 9), (LONG_RELAY, 100, 9), (LONG, 300, 9),
        (HTTP_DIRECT, 0, 9e5), (HTTP_REPEATED, 80, 9000), (HTTP_NEW, 300, 3600), (HTTP_PEER, 100, 3000),
        (FASTMCP, 9000, 300),
    )
]  # fmt: skip


def verdicts(everybody: list[Measured], memory: Memory = MEMORY) -> list[str]:
    return [one.verdict for one in targets(everybody, memory, STARTED)]


def test_each_target_is_met_or_not_by_its_median() -> None:
    # Asked before; beside a candidate; new: as many times the peer, in calls a second, with ten rules; counted.
    pipes = ["met", "met", "met", "met", "met", "NOT MET", "NOT MET", "met", "NOT MET", "NOT MET"]
    http = ["met", "met", "met", "met"]
    others = ["NOT MET", "met", "met", "met", "met", "NOT MET", "NOT MET"]
    assert verdicts(ALL) == [*pipes, *http, *others]


def test_what_has_no_figure_was_not_measured() -> None:
    without = [one if one.contender not in (NEW, LONG) else Measured(one.contender, (), "it ended") for one in ALL]
    without = [one for one in without if one.contender.role != "peer"]
    assert verdicts(without, Memory(watched(), 1000, failure="it ended")) == (
        ["not measured"] * 3
        + ["met"]
        + ["not measured"] * 9
        + ["met", "not measured", "met"]
        + ["not measured"] * 4
        + ["NOT MET"]
    )


def test_a_new_question_is_compared_with_the_peer_under_the_same_rule_and_with_opa_asked_for_several_at_once() -> None:
    peer, rate, per_second, ten_rules = [
        one for one in targets(ALL, MEMORY, STARTED) if one.case == "stdio, every question new"
    ]
    assert (peer.what, peer.figure) == ("added p50, × other", Spread(3.9, 3.9, 3.9))
    assert (rate.what, rate.figure) == ("calls/s, × other", Spread(0.25, 0.25, 0.25))
    assert per_second.what == "calls/s (0.56 × OPA's 9,000)"
    assert ten_rules.figure == Spread(600 / 390, 600 / 390, 600 / 390)


def test_the_summary_names_the_other_proxy_and_says_how_to_bring_one_in() -> None:
    with_peer, alone = ALL, [one for one in ALL if one.contender.role != "peer"]
    assert "calls/s, × http other" in target_table(targets(with_peer, MEMORY, STARTED))
    assert "make bench-peers" not in target_table(targets(with_peer, MEMORY, STARTED))
    assert "make bench-peers" in target_table(targets(alone, MEMORY, STARTED))


# The picture.


def test_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        draw(EVERYBODY, figures(EVERYBODY), "a machine", tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert ElementTree.parse(tmp_path / "one.svg").getroot().tag.endswith("svg")


def test_a_line_parts_only_rows_of_different_kinds(tmp_path: Path) -> None:
    # With so many rows before it, the places of the second kind are no exact numbers.
    bare = [Peer("a", "a {policy} {server}"), Peer("b", "b {server}"), *PEERS[1:]]
    everybody = [measured(one, 10) for one in contenders(bare, large=True)]
    draw(everybody, figures(everybody), "a machine", tmp_path / "all.svg")
    kinds, axes = 3, 2
    assert (tmp_path / "all.svg").read_text().count("stroke: #bbbbbb") == (kinds - 1) * axes


# The whole.


@pytest.mark.slow
def test_everybody_answers_every_call(tmp_path: Path) -> None:
    proxy = DIRECT.command[0]
    http = Peer("same", " ".join(HTTP_RELAY.command), "http")
    results = run(contenders([Peer("same", f"env {proxy}"), http]), Extent(rounds=2, calls=5, in_flight=40), tmp_path)
    assert [(one.contender.name, one.failure) for one in results if one.failure] == []
    assert all(len(one.samples) == 2 for one in results)
    new = (OPA, TOGETHER, NEW, REFUSED, PATTERNS, HTTP_NEW)
    assert [one.asked for one in results if one.contender in new] == [1.0] * len(new)


@pytest.mark.slow
def test_starts_and_memory_are_measured(tmp_path: Path) -> None:
    started = starts([*starters([]), Contender("absent", "peer", "", ("/no/such/program",))], 2, tmp_path / "starts")
    assert [len(one.seconds) for one in started] == [2, 2, 2, 0]
    assert "cannot be started" in (started[-1].failure or "")
    held = memory(watched(), 100, tmp_path / "memory")
    assert held.failure is None
    assert [(one.program, one.ended > 0) for one in held.held] == [("sidecar", True), ("OPA", True)]


def test_a_program_without_an_opa_has_no_figures_of_memory(tmp_path: Path) -> None:
    assert memory(DIRECT, 100, tmp_path / "memory").failure == "0 of its processes are called opa, not one"


def test_whoever_would_take_too_long_makes_fewer_calls() -> None:
    extent = Extent(rounds=1, calls=200, in_flight=3000, seconds=0.8)
    assert [extent.of_a_part(seconds) for seconds in (0.0001, 0.01, 9.0)] == [25, 10, 2]
    assert [extent.of_a_burst(rate) for rate in (100_000, 1000, 1)] == [3000, 800, 32]


def test_whoever_fails_is_reported_and_stops_nobody(tmp_path: Path) -> None:
    python, *_, server = SERVER
    no_count = f"exec(open({server!r}).read().replace('calls += 1', 'pass'))"
    # It says that a call is refused, and lets it through.
    lying = f'exec(open({server!r}).read().replace(\'"ok"}}]\', \'"ok"}}],"isError":true\'))'
    entrants = [
        Contender("absent", "peer", "", ("/no/such/program", "{server}")),
        Contender("silent", "peer", "", ("sh", "-c", "echo out of order >&2")),
        Contender("faking", "peer", "", (python, "-c", no_count)),
        replace(REPEATED, policy=ONE_RULE.replace("1000000000", "0")),
        replace(REFUSED, policy=ONE_RULE),
        Contender("lying", "peer", "", (python, "-c", lying), refusal="ok"),
        DIRECT,
    ]
    results = run(entrants, Extent(rounds=2, calls=5, in_flight=40), tmp_path)
    for one, reason in zip(
        results,
        [
            "cannot be started", "out of order", "0 came to the server", "too large", "no refusal",
            "to be refused were made and",
        ],
        strict=False,
    ):  # fmt: skip
        assert reason in (one.failure or "")
    assert results[-1].failure is None
