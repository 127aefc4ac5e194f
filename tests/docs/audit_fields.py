"""The tables of members in docs/audit.md, made from docs/audit.schema.json.

`python -m tests.docs.audit_fields` writes them into the document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.audit.schema import LINES, SCHEMA
from tests.support import ROOT

DOCUMENT: Final = ROOT / "docs" / "audit.md"
BEGIN: Final = "<!-- members: made by python -m tests.docs.audit_fields -->\n"
END: Final = "<!-- end of members -->\n"

_EVERYWHERE: Final = ("schema", "time", "event", "instance", "server", "seq", "chain")
_TITLES: Final = {"call": "decision, of a call", "unread": "decision, of a message that cannot be read",
                  "method": "decision, of another method"}  # fmt: skip


def tables() -> str:
    """What stands between the two marks."""
    return "\n".join(_tables()) + "\n"


def _tables() -> Iterator[str]:
    of_call = SCHEMA["$defs"]["call"]["properties"]
    yield "\n### Every line\n"
    yield from _table({name: of_call[name] for name in _EVERYWHERE}, [*_EVERYWHERE[:5]], event=False)
    for name in LINES:
        definition = SCHEMA["$defs"][name]
        yield f"\n### {_TITLES.get(name, definition['title'])}\n"
        yield f"{definition['description']}\n"
        own = {key: value for key, value in definition["properties"].items() if key not in _EVERYWHERE}
        yield from _table(own, definition["required"])


def _table(properties: dict[str, Any], required: list[str], *, event: bool = True) -> Iterator[str]:
    yield "| member | value | meaning |"
    yield "|---|---|---|"
    for name, described in properties.items():
        whole = _resolved(described)
        value = "the name of the event" if name == "event" and not event else _value(whole)
        meaning = "What the line tells of." if name == "event" and not event else whole["description"]
        yield f"| `{name}`{'' if name in required else ' (if any)'} | {value} | {meaning} |"


def _resolved(described: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in described:
        found: dict[str, Any] = SCHEMA["$defs"][described["$ref"].rpartition("/")[2]]
        return {**found, **described}
    return described


def _value(described: dict[str, Any]) -> str:
    if "const" in described:
        return f"`{described['const']}`".replace("True", "true")
    if "enum" in described:
        return ", ".join(f"`{one}`" for one in described["enum"])
    if described["type"] == "array":
        members = _resolved(described["items"])["properties"]
        return f"list of objects with {', '.join(f'`{name}`' for name in members)}"
    names = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "null": "null"}
    types = described["type"] if isinstance(described["type"], list) else [described["type"]]
    return " or ".join(names[one] for one in types)


def main() -> None:
    """Write the tables into the document."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(before + BEGIN + tables() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
