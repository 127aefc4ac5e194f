"""What docs/audit.md says of the chain: the hash that it computes by hand is the one in the file."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.audit.trails import read, write

TEXT = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")


def test_the_hash_of_a_line_can_be_computed_as_the_document_says(tmp_path: Path) -> None:
    write(tmp_path / "FILE", *range(8))
    [command] = [block for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.S) if "sha256sum" in block]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, timeout=30, check=True,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.strip() == read(tmp_path / "FILE")[6]["chain"]


def test_what_was_kept_elsewhere_is_found_as_the_document_says(tmp_path: Path) -> None:
    write(tmp_path / "audit.jsonl", *range(3))
    last = read(tmp_path / "audit.jsonl")[-1]
    [pattern] = re.findall(r"`grep '(.*?)' FILE`", TEXT)
    wanted = pattern.replace("1234", str(last["seq"])).replace("0f…", last["chain"])
    assert wanted in (tmp_path / "audit.jsonl").read_text()
