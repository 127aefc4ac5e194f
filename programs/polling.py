"""What it costs to look for a new bundle: bytes and CPU of a look, for the sidecar and for whoever serves it.

`python -m programs.polling` looks a few thousand times at a real nginx, a real registry and a directory on loopback,
one look after the other, and computes what a thousand sidecars are at one look a second.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import uvloop

from sidecar.distribution.places import source_of
from sidecar.distribution.publish import publish
from sidecar.distribution.writable import destination_of
from sidecar.policy import archive
from sidecar.policy.bundle import build
from sidecar.policy.compile import compile_policy
from sidecar.policy.merge import merge
from sidecar.policy.read import read
from tests.support import ROOT
from tests.support.nginx import nginx
from tests.support.ports import free_port
from tests.support.registry import registry

LOOKS = 2000
SIDECARS = 1000
TICKS = 100.0
"""Of a second, as the kernel counts the time of other processes (USER_HZ)."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one look: microseconds of CPU here and there, and microseconds of waiting."""

    ours: float
    theirs: float
    waited: float


def bundle() -> bytes:
    """A bundle of a real policy."""
    path = ROOT / "policies" / "okx-trading.yaml"
    model, _ = merge([read(path.read_text(encoding="utf-8"), path.name)[0]])
    return archive.write(build(compile_policy(model), 1).files, archive.TO_TRAVEL)


async def cost(place: str) -> Cost:
    """What a look costs where nothing is new."""
    destination = destination_of(place)
    await publish(bundle(), destination, print)
    await destination.close()
    await asyncio.sleep(2.1)  # until nginx's ETag can be trusted
    source = source_of(place)
    found = await source.fetch("")
    assert found is not None
    for _ in range(20):
        await source.fetch(found.tag)
    ours, theirs, began = time.process_time(), _cpu(), time.perf_counter()
    for _ in range(LOOKS):
        assert await source.fetch(found.tag) is None
    waited, spent = time.perf_counter() - began, time.process_time() - ours
    await source.close()
    return Cost(spent / LOOKS * 1e6, (_cpu() - theirs) / LOOKS * 1e6, waited / LOOKS * 1e6)


def _cpu() -> float:
    """Seconds of CPU of the processes that we started, and of those that they started."""
    found: dict[int, tuple[int, float]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            found[int(stat.parent.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS
    seconds, parents = 0.0, {os.getpid()}
    while parents:
        children = {pid for pid, (parent, _) in found.items() if parent in parents}
        seconds += sum(found[pid][1] for pid in children)
        parents = children
    return seconds


def _sizes(log: Path) -> tuple[int, int, int]:
    """Bytes of a request, of an answer that nothing is new, and of one with the bundle."""
    lines = [line.split() for line in log.read_text().splitlines()]
    [request, unchanged] = map(int, next(line[1:] for line in lines if line[0] == "304"))
    return request, unchanged, max(int(line[2]) for line in lines if line[0] == "200")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port, log = free_port(), folder / "access.log"
        (folder / "www").mkdir()
        block = (
            "log_format sizes '$status $request_length $bytes_sent';\n"
            f"server {{ listen 127.0.0.1:{port}; root {folder}/www; dav_methods PUT; access_log {log} sizes;\n"
            "keepalive_requests 100000; }"
        )
        with nginx(folder / "nginx", block, port):
            http = uvloop.run(cost(f"http://127.0.0.1:{port}/bundle.tar.gz"))
        with registry(folder / "registry") as host:
            oci = uvloop.run(cost(f"oci://{host}/policy"))
        directory = uvloop.run(cost(str(folder / "directory")))
        request, unchanged, whole = _sizes(log)
    print(f"{LOOKS} looks each, nothing new; microseconds of CPU and of waiting for one look")
    for kind, one in (("directory", directory), ("nginx", http), ("registry", oci)):
        print(f"{kind:10} sidecar {one.ours:6.0f}  server {one.theirs:6.0f}  waited {one.waited:6.0f}")
    print(f"nginx: request {request} B, answer {unchanged} B; with the bundle {whole} B")
    print(f"{SIDECARS} sidecars, one look a second each:")
    print(
        f"  nginx    {http.theirs * SIDECARS / 1e4:6.1f} % of a core, {(request + unchanged) * SIDECARS / 1e6:.2f} MB/s"
    )
    print(f"  registry {oci.theirs * SIDECARS / 1e4:6.1f} % of a core")
    print(f"  a new bundle: {whole * SIDECARS / 1e6:.1f} MB, once")


if __name__ == "__main__":
    main()
