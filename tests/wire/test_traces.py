"""Trace context on its way through, and spans to a collector that answers, lies or is away."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.observe.traces.spans import plain
from tests.support import SIDECAR
from tests.support.peer import PATIENT, Peer, Sidecar, denied
from tests.support.ports import free_port
from tests.support.scripted_http import Answer, Asked, Scripted, reply, scripted
from tests.wire.http.client import Agent
from tests.wire.http.running import running
from tests.wire.http.server import Upstream

POLICY = "tools: {never: {rules: [{action: deny, reason: never}]}}\n"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = {
    "z": [1.5], "traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "rojo=00f067aa0ba902b7,congo=t61",
    "baggage": "user=a%20b",
}  # fmt: skip


def line(id_: int, tool: str = "look") -> bytes:
    """A call that is a part of a trace."""
    params = {"name": tool, "arguments": {"pin": "4929"}, "_meta": CONTEXT}
    message = {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}
    return json.dumps(message, separators=(",", ":")).encode()


def taken(asked: Asked) -> bytes:
    return reply(200, b'{"partialSuccess":{}}')


def spans(collector: Scripted) -> list[dict[str, Any]]:
    """Every span that came, its attributes as a dictionary."""
    found = []
    for asked in list(collector.asked):
        for resource in json.loads(asked.body)["resourceSpans"]:
            found += [plain(span) for scope in resource["scopeSpans"] for span in scope["spans"]]
    return found


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


def test_the_context_of_a_call_reaches_a_program_byte_for_byte(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        sidecar.initialize()
        for id_ in range(100, 104):  # the last ones are known calls
            sidecar.send_bytes(line(id_) + b"\n")
            assert sidecar.read()["id"] == id_
        assert sidecar.received == [line(id_).decode() for id_ in range(100, 104)]


def test_the_context_of_a_call_reaches_a_remote_server_byte_for_byte(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    place = ("-c", str(tmp_path / "policy.yaml"), "--state-dir", str(tmp_path / "state"), *PATIENT)
    with Peer([str(SIDECAR), "run", *place, "--upstream", upstream.url], tmp_path) as bridged:
        bridged.initialize()
        bridged.send_bytes(line(100) + b"\n")
        assert bridged.read()["id"] == 100
        assert [asked.body for asked in upstream.asked("look")] == [line(100)]


def test_over_http_both_the_context_in_a_call_and_that_of_its_request_reach_the_server(
    tmp_path: Path, upstream: Upstream
) -> None:
    headers = (f"traceparent: 00-{TRACE[::-1]}-{PARENT}-00", "tracestate: a=b", "baggage: c=d")
    with running(tmp_path / "run", "--upstream", upstream.url) as listener:
        assert Agent(listener.url, *headers).post(line(1)).status == 200
        (asked,) = upstream.asked("look")
    assert asked.body == line(1)
    assert [f"{name}: {asked.header(name)}" for name in ("traceparent", "tracestate", "baggage")] == list(headers)


def test_the_audit_has_the_trace_of_each_of_equal_calls_and_of_no_other(tmp_path: Path) -> None:
    traces = [f"{number:032x}" for number in (1, 2, 3)]
    with running(tmp_path / "run") as listener:
        agent = Agent.with_session(listener.url)
        for id_, trace in enumerate([*traces, "", traces[0]]):
            headers = (f"traceparent: 00-{trace}-{PARENT}-01",) if trace else ()
            assert "result" in agent.call("shown", {"same": 1}, id_, *headers)
    (file,) = (tmp_path / "run" / "state" / "events").glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    told = [line.get("trace_id") for line in lines if line["event"] == "decision"]
    assert told == [*traces, None, traces[0]]


def test_a_span_tells_of_each_call_as_a_child_of_who_made_it_and_never_of_its_arguments(tmp_path: Path) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20s3cr3t", "OTEL_SERVICE_NAME": "agent-x",
        "POD_NAME": "pod-1", "KEPT": "k",
    }  # fmt: skip
    with scripted(taken) as collector:
        with Sidecar(tmp_path, POLICY, "--otlp", collector.url, env=environment) as sidecar:
            (server,) = sidecar.children("stub_server")
            inherited = Path(f"/proc/{server}/environ").read_bytes()
            # Nobody but root sees anything of us.
            own = Path(f"/proc/{sidecar.process.pid}/environ").read_bytes() if os.geteuid() == 0 else b""
            sidecar.initialize()
            sidecar.send_bytes(line(100) + b"\n" + line(101, "never") + b"\n")
            assert denied({reply["id"]: reply for reply in (sidecar.read(), sidecar.read())}[101])
            told = sidecar.errors
            assert sidecar.end() == 0
        found = {span["attributes"]["jsonrpc.request.id"]: span for span in spans(collector)}
        asked = collector.asked[0]
    assert found.keys() == {"100", "101"}
    assert {(span["traceId"], span["parentSpanId"]) for span in found.values()} == {(TRACE, PARENT)}
    assert found["100"]["attributes"]["mcp_policy.outcome"] == "success"
    assert found["101"]["status"] == {"code": 2, "message": "never"}
    ids = {line["decision_id"] for line in sidecar.audit if line["event"] == "decision"}
    assert {span["attributes"]["mcp_policy.decision_id"] for span in found.values()} == ids
    assert asked.headers["authorization"] == "Bearer s3cr3t"
    assert b'"agent-x"' in asked.body
    assert b'"pod-1"' in asked.body
    assert b"4929" not in b"".join(each.body for each in collector.asked)
    # What the collector is shown is a secret: neither the server nor any log has it.
    assert b"KEPT=k" in inherited
    assert b"s3cr3t" not in inherited + own
    assert "s3cr3t" not in told


def away(asked: Asked) -> list[bytes]:
    return []


def redirecting(asked: Asked) -> bytes:
    return reply(307, location="http://127.0.0.1:1/")


def garbage(asked: Asked) -> list[bytes]:
    return [b"\x00garbage\r\n\r\n"]


@pytest.mark.parametrize("answer", [None, away, redirecting, garbage])
def test_no_call_notices_a_collector_that_is_away_or_lies(tmp_path: Path, answer: Answer | None) -> None:
    with scripted(answer or away) as collector:
        url = collector.url if answer is not None else f"http://127.0.0.1:{free_port()}"
        with Sidecar(tmp_path, POLICY, "--otlp", url) as sidecar:
            sidecar.initialize()
            for id_ in range(100, 150):
                sidecar.send_bytes(line(id_) + b"\n")
                assert "result" in sidecar.read()
            sidecar.wait_for_error("spans are not taken by the collector (--otlp): ")
            assert sidecar.end() == 0
    assert sidecar.errors.count("spans are not taken") == 1


def test_a_collector_that_never_answers_holds_up_the_end_no_longer_than_a_bound(tmp_path: Path) -> None:
    def silent(asked: Asked) -> Iterator[bytes]:
        collector.over.wait(60)
        yield b""

    with scripted(silent) as collector:
        with Sidecar(tmp_path, POLICY, "--otlp", collector.url) as sidecar:
            sidecar.initialize()
            sidecar.send_bytes(line(100) + b"\n")
            assert "result" in sidecar.read()
            assert sidecar.end() == 0
        assert not collector.over.is_set()
    assert "it had not taken them when the sidecar ended" in sidecar.errors


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        (("--otlp", "localhost:4318"), {}, "--otlp: a URL begins with http:// or https://"),
        (("--otlp", "http://localhost:4318"), {"OTEL_EXPORTER_OTLP_HEADERS": "s3cr3t"}, "item 1 is not written"),
    ],
)
def test_a_mistake_in_what_says_where_spans_go_stops_the_start(
    tmp_path: Path, options: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    with Sidecar(tmp_path, POLICY, *options, env=environment, ready=False) as sidecar:
        assert sidecar.wait() == 2
    assert said in sidecar.errors
    assert "s3cr3t" not in sidecar.errors
