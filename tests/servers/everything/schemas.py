"""A tool whose input schema uses what JSON Schema 2020-12 has, for peers that must keep all of it."""

from __future__ import annotations

from typing import Any, Final

from mcp_types import CallToolRequestParams, CallToolResult

from tests.servers.everything.offer import Context, Offer, offer, said

_TEXT: Final = {"type": "string"}
_CONTACT: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {"$anchor": "addressDef", "type": "object", "properties": {"street": _TEXT, "city": _TEXT}},
    },
    "properties": {
        "name": _TEXT,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": _TEXT,
        "email": _TEXT,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@offer("Has a schema of many keywords", _CONTACT)
async def json_schema_2020_12_tool(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    return said("JSON Schema 2020-12")


OFFERS: Final[tuple[Offer, ...]] = (json_schema_2020_12_tool,)
