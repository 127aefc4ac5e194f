"""An answer that cannot be read is one, whatever is called `method` inside of it: each side gets its own, once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support.peer import Sidecar, until
from tests.wire.tapped import encoded, tool_call

LIMIT = 64 << 10
LONG, DEEP = b"x" * LIMIT, b"[" * 9_000 + b"]" * 9_000
ANSWERS = {
    "not UTF-8": b'{"jsonrpc":"2.0","id":1,"result":{"method":"x","a":"\xff"}}',
    "not UTF-8, id last": b'{"jsonrpc":"2.0","result":{"method":"x","a":"\xff"},"id":1}',
    "too deep": b'{"jsonrpc":"2.0","id":1,"result":{"method":"x","a":%b}}' % DEEP,
    "too deep, id last": b'{"result":{"method":"x","a":%b},"id":1,"jsonrpc":"2.0"}' % DEEP,
    "too long": b'{"jsonrpc":"2.0","id":1,"result":{"method":"x","a":"%b"}}' % LONG,
    "too long, id last": b'{"result":{"a":"%b","method":"x"},"id":1,"jsonrpc":"2.0"}' % LONG,
    "an error": b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":{"method":"\xff"}}}',
}

SERVER = """
import sys
says = iter(sys.argv[2:])
with open(sys.argv[1], "wb", buffering=0) as log:
    for line in sys.stdin.buffer:
        log.write(line)
        path = next(says, None)
        if path is not None:
            with open(path, "rb") as said:
                sys.stdout.buffer.write(said.read() + b"\\n")
            sys.stdout.buffer.flush()
"""


def in_front_of(folder: Path, *says: bytes) -> Sidecar:
    """A sidecar whose server says these lines, one whenever it got one; all that it got is in `log`."""
    paths = [folder / f"line-{at}" for at in range(len(says))]
    for path, line in zip(paths, says, strict=True):
        path.write_bytes(line)
    server = [sys.executable, "-S", "-E", "-c", SERVER, *map(str, (folder / "log", *paths))]
    return Sidecar(folder, "tools: {}", "--max-message", f"{LIMIT >> 10}KiB", server=server)


def got(folder: Path, count: int) -> list[bytes]:
    """The lines that the server got, once there are so many."""
    until(lambda: (folder / "log").read_bytes().count(b"\n") >= count)
    return (folder / "log").read_bytes().splitlines()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_one_of_the_server_ends_the_call_and_frees_its_id_and_the_server_hears_nothing(
    tmp_path: Path, answer: bytes
) -> None:
    call, ping = tool_call(1, "t", {}), encoded(id=1, method="ping")
    with in_front_of(tmp_path, answer, encoded(id=1, result={})) as client:
        client.send_bytes(call + b"\n")
        told = client.read()
        assert (told["id"], told["error"]["code"]) == (1, -32603)
        client.send_bytes(ping + b"\n")
        assert client.read() == {"jsonrpc": "2.0", "id": 1, "result": {}}
        assert got(tmp_path, 2) == [call, ping]


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_one_of_the_client_is_told_to_the_server_and_ends_no_call_of_the_client(tmp_path: Path, answer: bytes) -> None:
    call = tool_call(1, "t", {})
    question, result = encoded(id=1, method="sampling/createMessage", params={}), encoded(id=1, result={})
    with in_front_of(tmp_path, question, result) as client:
        client.send_bytes(call + b"\n")
        assert client.read()["method"] == "sampling/createMessage"
        client.send_bytes(answer + b"\n")
        assert client.read() == {"jsonrpc": "2.0", "id": 1, "result": {}}
        lines = got(tmp_path, 2)
        assert lines[0] == call
        assert (json.loads(lines[1])["id"], json.loads(lines[1])["error"]["code"]) == (1, -32603)
        assert len(lines) == 2
