"""Every recorded case, through `sidecar run` and a stub server.

A case is `name`, `policy`, perhaps `tools` (what the server lists) and `steps`, each with what it expects: `allow` (the
server got the call, its arguments unchanged), `deny` (a result with the prefix), `error`, `refused` (one of the two),
or the names that `tools/list` shows, all else in its answer kept. Where a message is given it is what the text begins
with; lines for the agent may follow it. Each case runs on a sidecar of its own.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from tests.support.peer import Sidecar, refusal

HERE = Path(__file__).parent
Case: TypeAlias = dict[str, Any]
Outcome: TypeAlias = dict[str, Any]

CASES: dict[str, Case] = {
    f"{path.stem}: {case['name']}": case
    for path in sorted((HERE / "cases").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
}

# One case, on a sidecar of its own.


def run(case: Case, folder: Path) -> list[Outcome]:
    """What each step of a case led to."""
    assert "revision" not in case, "no case needs another revision yet"
    wait_for_the_next_window(case["policy"])
    names = case.get("tools") or list(dict.fromkeys(step["call"] for step in case["steps"] if "call" in step))
    tools = [{"name": name, "description": name, "inputSchema": {"type": "object"}} for name in names]
    (folder / "list.json").write_text(json.dumps({"tools": tools, "_meta": {"stub": "kept"}}))
    outcomes = []
    sidecar = start(case, folder)
    try:
        for at, step in enumerate(case["steps"], 1):
            if "restart" in step:
                sidecar.end()
                sidecar.__exit__(None, None, None)
                sidecar = start(case, folder)
            outcomes.append({} if "restart" in step else take(sidecar, step, 1000 + at))
    finally:
        sidecar.__exit__(None, None, None)
    return outcomes


def start(case: Case, folder: Path) -> Sidecar:
    sidecar = Sidecar(folder, case["policy"], stub=["--list", str(folder / "list.json")])
    sidecar.initialize()
    return sidecar


def take(sidecar: Sidecar, step: dict[str, Any], id_: int) -> Outcome:
    """One step: a call as literal text, a line as it stands, or `tools/list`."""
    if "list_tools" in step:
        return listed(sidecar.request("tools/list", {}))
    before = len(sidecar.received)
    arguments = step.get("arguments_json")
    if arguments is None and "arguments" in step:
        arguments = json.dumps(step["arguments"], ensure_ascii=False)
    name = json.dumps(step.get("call"), ensure_ascii=False)
    params = f'{{"name":{name}}}' if arguments is None else f'{{"name":{name},"arguments":{arguments}}}'
    line = f'{{"jsonrpc":"2.0","id":{id_},"method":"tools/call","params":{params}}}'
    sidecar.send_bytes(step.get("raw", line).replace("ID", str(id_)).encode() + b"\n")
    reply = sidecar.reply(id_)
    return judged(reply, sidecar.received[before:], arguments)


def listed(reply: Any) -> Outcome:
    if "error" in reply:
        return {"expect": "error", "code": reply["error"]["code"], "message": reply["error"]["message"]}
    kept = reply["result"].get("_meta") == {"stub": "kept"}
    return {"list_tools": [tool["name"] for tool in reply["result"]["tools"]], "kept_fields": kept}


def judged(reply: Any, received: list[str], arguments: str | None) -> Outcome:
    """What became of a call, in the words of the cases."""
    if received:
        there = exact(received[-1])["params"].get("arguments")
        same = arguments is None or there == exact(arguments)
        return {"expect": "allow"} if same else {"expect": "allow", "changed": received[-1]}
    if "error" in reply:
        # A request that is no call is not among those received; that the stub got it shows in the stub's own answer.
        by_stub = reply["error"]["message"] == "no such method"
        outcome = "allow" if by_stub else "error"
        return {"expect": outcome, "code": reply["error"]["code"], "message": reply["error"]["message"]}
    if (lines := refusal(reply)) is not None:
        return {"expect": "deny", "message": "\n".join(lines)}
    return {"expect": None, "reply": reply}


def exact(text: str) -> Any:
    """JSON with its numbers as they were written."""
    return json.loads(text, parse_float=Decimal)


def agrees(step: dict[str, Any], outcome: Outcome) -> bool:
    wanted: dict[str, Any] = {key: step[key] for key in ("expect", "code", "list_tools") if key in step}
    if "list_tools" in step and "expect" not in step:
        wanted["kept_fields"] = True
    if wanted.get("expect") == "refused":
        return outcome["expect"] in ("deny", "error")
    said, begins = outcome.get("message", ""), step.get("message")
    if begins is not None and said != begins and not said.startswith(f"{begins}\n"):
        return False
    return "changed" not in outcome and all(outcome.get(key) == value for key, value in wanted.items())


def wait_for_the_next_window(policy: str, margin: float = 4.0) -> None:
    """Wait for the end of a window that the policy names, if it is near: the steps must all fall into one."""
    lengths = {60: r"/minute|window: *minute", 3600: r"/hour|window: *(hour|3600)", 86400: r"/day|window: *(day|86400)"}
    lengths |= {90: r"window: *90s", 900: r"window: *15m", 43200: r"window: *12h"}
    for length, pattern in lengths.items():
        left = length - time.time() % length
        if left < margin and re.search(pattern, policy):
            time.sleep(left + 0.2)


# The tests.


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[list[Outcome]]]]:
    """The selected cases, two at a time."""
    here = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == Path(__file__)]
    chosen = [str(item.callspec.params["name"]) for item in here if "running" in item.fixturenames]
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(run, CASES[name], tmp_path_factory.mktemp("case")) for name in chosen}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_case_is_decided_as_recorded(name: str, running: dict[str, Future[list[Outcome]]]) -> None:
    outcomes = running[name].result(timeout=100)
    for step, outcome in zip(CASES[name]["steps"], outcomes, strict=True):
        assert agrees(step, outcome), (step, outcome)


def test_no_case_got_lost() -> None:
    assert len(CASES) == 199
