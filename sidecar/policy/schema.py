"""The JSON Schema of policy files, by which editors complete, explain and check them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

NAME: Final = "policy.schema.json"


def schema() -> str:
    """The text of the schema: inside the installed package, or in `docs` in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "_schema" / NAME
    return (installed if installed.is_file() else package.parent / "docs" / NAME).read_text(encoding="utf-8")
