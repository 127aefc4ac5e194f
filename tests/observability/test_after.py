"""What is left on the machine after the script: the audit files and their chains, and what `status` says of it all."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.observability.conftest import Watched
from tests.support import SIDECAR
from tests.support.peer import SECONDS

pytestmark = pytest.mark.observability


def test_the_chain_of_every_audit_file_holds(watched: Watched) -> None:
    for server in ("shop", "desk"):
        files = sorted((watched.world.folder / server / "events").glob("*.jsonl"))
        assert files
        command("audit", "verify", *map(str, files))


def test_an_audit_file_that_was_changed_does_not_hold(watched: Watched) -> None:
    file = sorted((watched.world.folder / "desk" / "events").glob("*.jsonl"))[0]
    changed = watched.world.folder / "changed.jsonl"
    changed.write_text(file.read_text().replace('"cancel_order"', '"cancel_orden"', 1))
    assert changed.read_text() != file.read_text()
    command("audit", "verify", str(changed), status=1)


def test_status_counts_what_prometheus_counts(watched: Watched) -> None:
    said = json.loads(command("status", "--json", "--state-dir", str(watched.world.folder / "shop")))
    assert len(said["instances"]) == 2
    server = watched.servers["3"]
    # Nobody calls any more, so both look at the same numbers.
    counted = server.query('sum by (decision) (mcp_policy_decisions_total{server="shop"})')
    assert said["decisions"] == {one["metric"]["decision"]: int(one["value"][1]) for one in counted}
    top = 'topk(1, sum by (tool, rule) (mcp_policy_decisions_total{server="shop",decision="deny"}))'
    (most,) = server.query(top)
    first = said["top_denials"][0]
    assert (first["tool"], first["rule"]) == (most["metric"]["tool"], most["metric"]["rule"]) != ("", "")
    assert first["count"] == int(most["value"][1])


def command(*words: str, status: int = 0) -> str:
    """What the sidecar's command line prints; it must end with this status."""
    done = subprocess.run([str(SIDECAR), *words], capture_output=True, text=True, timeout=4 * SECONDS, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout
