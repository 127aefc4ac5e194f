"""Clients that are slow, many, or not who they say: nobody else notices, and nothing secret is told."""

from __future__ import annotations

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.listener import Listener
from tests.support.peer import denied, until
from tests.wire.http.client import SESSION, Agent, Wire, call, first_message, head, hello
from tests.wire.http.running import running
from tests.wire.http.server import Upstream, raw

SCOPED = "tools: {shown: {rules: [{name: each, rate_limit: {max: 2, window: day, scope: principal}}]}}\n"


def test_slow_clients_hold_up_nobody(relay: Listener) -> None:
    with ExitStack() as stack:
        for number in range(100):
            wire = stack.enter_context(Wire(relay.url))
            whole = head(wire.host, length=100)
            wire.send(whole[: 20 + number] if number % 2 else whole + b"{")
        agent = Agent.with_session(relay.url)
        assert "result" in agent.call("shown")


def test_no_more_sessions_than_may_be_are_opened_however_many_ask_at_once(upstream: Upstream, tmp_path: Path) -> None:
    for name, options in (("relay", ("--upstream", upstream.url)), ("child", ())):
        bounds = ("--max-sessions", "3", "--max-sessions-each", "3")
        with running(tmp_path / name, *bounds, *options) as listener, ThreadPoolExecutor(12) as threads:
            asked = threads.map(lambda _: Agent(listener.url).post(hello()), range(12))
            answers = list(asked)
            assert sum(SESSION in answer.headers for answer in answers) == 3
            refused = [answer for answer in answers if SESSION not in answer.headers]
            assert all((answer.status, answer.code) == (200, -32000) for answer in refused)
            opened = next(answer.headers[SESSION] for answer in answers if SESSION in answer.headers)
            agent = Agent(listener.url, f"Mcp-Session-Id: {opened}")
            assert "result" in agent.call("shown")
            assert agent.post(b"", method="DELETE").status in (200, 204)
            assert SESSION in Agent(listener.url).post(hello()).headers


@pytest.mark.parametrize(
    ("header", "status"),
    [("Host: evil.example", 421), ("Host: evil.example:80", 421), ("Origin: http://evil.example", 403),
     ("Origin: null", 403), ("Origin: http://127.0.0.1.evil.example", 403), ("Origin: http://localhost:1", 200)],
)  # fmt: skip
def test_only_our_own_host_and_pages_of_this_machine_are_served(
    relay: Listener, hosted: Listener, legacy: Listener, upstream: Upstream, header: str, status: int
) -> None:
    for listener in (relay, hosted):
        assert Agent(listener.url).post(hello(), header).status == status
        assert Agent(listener.url).post(b"", header, method="GET").status in (status, 400, 405) or status == 200
    if status != 200:
        assert Agent(legacy.url).post(b"", header, method="GET", target="/sse").status == status
        assert upstream.seen == []


def test_tokens_of_the_file_admit_and_may_be_changed_while_we_run(upstream: Upstream, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("first-token\n")
    options = ("--auth-token-file", str(tokens), "--upstream", upstream.url)
    with running(tmp_path / "run", *options) as listener:
        first, second = (Agent(listener.url, f"Authorization: Bearer {name}-token") for name in ("first", "second"))
        for agent in (Agent(listener.url), second, Agent(listener.url, "Authorization: Basic Zmlyc3QtdG9rZW4=")):
            answer = agent.post(call("shown"))
            assert answer.status == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert Agent(listener.url).post(call("shown"), target="/mcp?access_token=first-token").status == 401
        assert upstream.seen == []
        # Policy never answers with a status: that would make a client authorize itself anew.
        answer = first.post(call("forbidden"))
        assert (answer.status, denied(first_message(answer))) == (200, "never")
        assert first.post(call("shown")).status == 200
        assert upstream.asked("shown")[0].header("authorization") is None
        tokens.write_text("second-token\n")
        until(lambda: second.post(call("shown")).status == 200)
        assert first.post(call("shown")).status == 401
        assert "-token" not in listener.errors.replace("--auth-token-file", "")


@pytest.mark.parametrize("credential", ["a token that is taken back", "a JWT that expires"])
def test_a_credential_that_ended_is_no_good_on_a_connection_whose_head_is_known(
    upstream: Upstream, tmp_path: Path, credential: str
) -> None:
    tokens, keys, token = tmp_path / "tokens", tmp_path / "keys.json", "first-token"
    options = ["--auth-token-file", str(tokens)]
    if credential == "a JWT that expires":
        key = ec.generate_private_key(ec.SECP256R1())
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
        keys.write_text(json.dumps({"keys": [public | {"kid": "k", "alg": "ES256", "use": "sig"}]}))
        options = ["--jwt-jwks", str(keys), "--jwt-issuer", "https://issuer.example", "--jwt-audience", "sidecar"]
    tokens.write_text(f"{token}\n")
    with running(tmp_path / "run", *options, "--upstream", upstream.url) as listener, Wire(listener.url) as wire:
        if credential == "a JWT that expires":
            now = int(time.time())
            claims = {"iss": "https://issuer.example", "sub": "a", "aud": "sidecar", "iat": now - 60}
            # Clocks may differ by 30 s.
            token = jwt.encode(claims | {"exp": now - 27}, key, "ES256", {"kid": "k"})

        def status() -> int:
            wire.ask(call("shown"), f"Authorization: Bearer {token}")
            return wire.answer().status

        assert [status() for _ in range(3)] == [200] * 3
        tokens.write_text("second-token\n")
        until(lambda: status() == 401)
        ran = len(upstream.asked("shown"))
        assert [status() for _ in range(3)] == [401] * 3
        assert len(upstream.asked("shown")) == ran


def test_callers_are_counted_by_who_they_are_and_have_no_use_of_anothers_session(
    upstream: Upstream, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [public | {"kid": "k", "alg": "ES256", "use": "sig"}]}))

    def agent(who: str) -> Agent:
        claims = {"iss": "https://issuer.example", "sub": who, "aud": "sidecar", "iat": 1_700_000_000}
        claims |= {"exp": 4_000_000_000}
        token = jwt.encode(claims, key, "ES256", {"kid": "k"})
        return Agent(listener.url, f"Authorization: Bearer {token}")

    proof = (
        "--jwt-jwks",
        str(tmp_path / "keys.json"),
        "--jwt-issuer",
        "https://issuer.example",
        "--jwt-audience",
        "sidecar",
    )
    with running(tmp_path / "run", *proof, "--upstream", upstream.url, policy=SCOPED) as listener:
        one, other = Agent.with_session(listener.url, *agent("one").headers), agent("other")
        for method in ("POST", "GET", "DELETE"):
            body = call("shown") if method == "POST" else b""
            assert other.post(body, f"Mcp-Session-Id: {one.session}", method=method).status == 404
        assert [denied(first_message(one.post(call("shown")))) is None for _ in range(2)] == [True, True]
        assert denied(first_message(agent("one").post(call("shown")))) is not None
        assert denied(first_message(other.post(call("shown")))) is None
    with pytest.raises(RuntimeError, match="scope: principal needs callers that authenticate themselves"):
        running(tmp_path / "no", "--upstream", upstream.url, policy=SCOPED)


MARKER = "s3cret-marker"


def test_what_passes_through_is_told_nowhere(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{MARKER}-token\n")
    (tmp_path / "upstream").write_text(f"{MARKER}-upstream\n")
    options = (
        "--auth-token-file", str(tmp_path / "token"), "--header", f"X-Key: file:{tmp_path / 'upstream'}",
        "--upstream", upstream.url, "--log-level", "debug",
    )  # fmt: skip
    folder = tmp_path / "run"
    with running(folder, *options) as listener:
        authorization = f"Authorization: Bearer {MARKER}-token"
        agent = Agent.with_session(listener.url, authorization, f"X-Mine: {MARKER}-header")
        secret = {"amount": 9, "key": f"{MARKER}-argument", f"{MARKER}-key": 1}
        answers = [agent.post(call(tool, secret)) for tool in ("careful", "forbidden")]
        answers += [agent.post(call("shown", secret), f"Mcp-Name: {MARKER}-name")]
        answers += [agent.post(json.dumps(call("t", {"k": MARKER})).encode().replace(b"marker", b"marker\xff"))]
        answers += [agent.post(b'{"a": "' + MARKER.encode())]
        answers += [agent.post(call("shown", secret) | {"method": "Tools/call"})]
        answers += [Agent(listener.url, f"Authorization: Bearer {MARKER}-wrong").post(call("shown", secret))]
        answers += [Agent(listener.url, authorization, f"Mcp-Session-Id: {MARKER}-session").post(call("shown"))]
        answers += [agent.post(call("shown", secret), f"Origin: http://{MARKER}.example")]
        answers += [
            agent.post(call("shown", secret), f"{MARKER} : bad"),
            agent.post(call("shown"), target=f"/{MARKER}"),
        ]
        for broken in (b"HTTP/1.1 600 " + MARKER.encode() + b"\r\n\r\n", MARKER.encode() + b"\r\n\r\n"):
            upstream.says["shown"] = raw(broken)
            answers.append(agent.post(call("shown", secret)))
        upstream.stop()
        answers.append(agent.post(call("shown", secret)))
        base = next(line for line in listener.errors.split() if line.startswith("http://") and "/mcp" not in line)
        base = base.rsplit("/", 1)[0]
        told = [urllib.request.urlopen(base + path).read().decode() for path in ("/metrics", "/readyz")]
        upstream.start_again()
        files = [path for path in (folder / "state").rglob("*") if path.is_file() and path.suffix != ".key"]
        written = "".join(path.read_bytes().decode("latin-1") for path in files)
        assert "careful" in written
        places = {"log": listener.errors, "state": written, "telemetry": "".join(told)}
        places |= {f"answer {number}": f"{answer.headers}{answer.body!r}" for number, answer in enumerate(answers)}
        for where, text in places.items():
            assert MARKER not in text, where
            assert where.startswith("answer") or agent.session not in text, where
        assert any((header, value) == ("x-key", f"{MARKER}-upstream") for header, value in upstream.seen[0].headers)


@pytest.mark.parametrize("framing", ["Content-Length: 16000000", "Transfer-Encoding: chunked"])
def test_who_has_no_token_is_told_so_by_the_head_alone_and_holds_nothing(
    upstream: Upstream, tmp_path: Path, framing: str
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("good\n")
    with ExitStack() as stack:
        options = ("--upstream", upstream.url, "--auth-token-file", str(tokens))
        listener = stack.enter_context(running(tmp_path, *options))
        for shown in ("", "Authorization: Bearer bad\r\n"):
            for _ in range(40):
                wire = stack.enter_context(Wire(listener.url))
                begun = f"POST /mcp HTTP/1.1\r\nHost: {wire.host}\r\nContent-Type: application/json\r\n"
                wire.send(f"{begun}{shown}{framing}\r\n\r\n".encode())
                status, headers = wire.begin()
                assert (status, headers["connection"]) == (401, "close")
        agent = Agent.with_session(listener.url, "Authorization: Bearer good")
        assert "result" in agent.call("shown")


def test_one_caller_takes_half_of_the_sessions_at_the_most_and_others_have_the_rest(
    upstream: Upstream, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    key = ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    keys.write_text(json.dumps({"keys": [{**public, "alg": "ES256"}]}))
    proof = ("--jwt-jwks", str(keys), "--jwt-issuer", "https://issuer.example", "--jwt-audience", "us")

    def token(subject: str) -> str:
        now = int(time.time())
        said = {"iss": "https://issuer.example", "aud": "us", "sub": subject, "iat": now, "exp": now + 600}
        return f"Authorization: Bearer {jwt.encode(said, key, 'ES256')}"

    for name, options in (("relay", ("--upstream", upstream.url)), ("child", ())):
        with running(tmp_path / name, "--max-sessions", "4", *proof, *options) as listener:
            greedy = [Agent(listener.url, token("greedy")).post(hello()) for _ in range(4)]
            assert [SESSION in answer.headers for answer in greedy] == [True, True, False, False]
            assert "2 sessions are yours" in greedy[3].message["error"]["message"]
            other = [Agent(listener.url, token("other")).post(hello()) for _ in range(3)]
            assert [SESSION in answer.headers for answer in other] == [True, True, False]


def test_where_nobody_knows_callers_an_address_takes_half_of_the_sessions(upstream: Upstream, tmp_path: Path) -> None:
    with running(tmp_path, "--max-sessions", "4", "--upstream", upstream.url) as listener:
        answers = [Agent(listener.url).post(hello()) for _ in range(3)]
        assert [SESSION in answer.headers for answer in answers] == [True, True, False]
