"""The first page of docs/policy.md: each example decides its calls as the table below it says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

import pytest

from tests.support import ROOT
from tests.support.desk import desk

TEXT: Final = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8").split("\n## Where to find the rest\n")[0]
EXAMPLES: Final = {
    section.partition("\n")[0]: section for section in re.split(r"^##+ ", TEXT, flags=re.M) if "| call |" in section
}
"""The sections that have a table of calls, by their headings."""
ROW: Final = re.compile(
    r"^\| (?:(\d+) times )?`(\w+ \{.*\})` \| (passes|refused until|refused|waits for a person)", re.M
)
OUTCOME: Final = {"passes": "passes", "refused until": "spent", "refused": "refused", "waits for a person": "asks"}


def rows(section: str) -> list[tuple[str, str]]:
    """Each call in order, with what the table says must become of it."""
    return [(call, OUTCOME[said]) for times, call, said in ROW.findall(section) for _ in range(int(times or 1))]


def test_every_row_of_a_table_is_read() -> None:
    assert len(EXAMPLES) == 8
    for section in EXAMPLES.values():
        table = section[section.index("| call |") :].split("\n\n")[0].splitlines()[2:]
        assert len(ROW.findall(section)) == len(table) > 2


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_decides_its_calls_as_its_table_says(name: str, tmp_path: Path) -> None:
    (policy,) = re.findall(r"^```yaml\n(.*?)^```$", EXAMPLES[name], re.M | re.S)

    async def test() -> list[str]:
        async with desk(policy, tmp_path) as found:
            return await found.outcomes([call for call, _ in rows(EXAMPLES[name])])

    assert asyncio.run(test()) == [outcome for _, outcome in rows(EXAMPLES[name])]
