"""The exposition itself, as promtool reads it; and the rules, as promtool's strictest look at them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.observability.conftest import Watched
from tests.observability.queries import RULES
from tests.support.peer import SECONDS
from tests.support.prometheus import LINES, program
from tests.support.service import asked

pytestmark = pytest.mark.observability


@pytest.mark.parametrize("line", LINES)
def test_promtool_has_nothing_to_say_about_the_metrics(watched: Watched, line: str) -> None:
    for place in (watched.world.shop, watched.world.desk):
        exposition = asked(f"http://{place.telemetry}/metrics")
        assert b"mcp_policy_decisions_total" in exposition
        assert promtool(line, "check", "metrics", said=exposition) == ""


def test_promtool_has_nothing_to_say_about_the_rules(tmp_path: Path) -> None:
    said = promtool("3", "check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert "SUCCESS" in said


def promtool(line: str, *words: str, said: bytes = b"") -> str:
    """What it says on both streams; it must end well."""
    done = subprocess.run(
        [program("promtool", line), *words], input=said, capture_output=True, timeout=4 * SECONDS, check=False
    )
    both = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, both
    return both
