"""The description of the API of approvals (OpenAPI 3.1), for those who write clients. No code reads it here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidecar.ledger.approvals import STATES

_TEXT: Final = {"type": "string"}
_MAYBE_TEXT: Final = {"type": ["string", "null"]}
_TIME: Final = {"type": "string", "format": "date-time"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_STATE: Final = {"type": "string", "enum": list(STATES)}
_AMOUNT: Final = {"type": "number"}


def _object(properties: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """An object that has all of these properties."""
    return {"type": "object", "properties": dict(properties), "required": list(properties), **more}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(items)}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_ANSWER: Final = _object({
    "by": _TEXT, "time": _TIME,
    "via": {"type": "string", "description": "cli, api or page"},
    "origin": {"type": "string", "description": "the address, or the user of the machine"},
    "verdict": {"type": "string", "enum": ["approve", "deny", "committed", "failed", "revoke"]},
    "grant": {"type": "boolean"}, "reason": _TEXT,
    "shown": {"type": ["string", "null"], "description": "the digest of what the person saw"},
})  # fmt: skip
_GRANT_TERMS: Final = {
    "description": "what may be approved beyond this call; null where the rule grants nothing",
    "anyOf": [{"type": "null"}, {"type": "object"}],
}
_SUMMARY: Final = {
    "id": _TEXT, "state": _STATE, "server": _TEXT, "tool": _TEXT, "class": _MAYBE_TEXT, "severity": _MAYBE_TEXT,
    "masked": {**_list(_TEXT), "description": "paths whose values the policy hides from approvers"},
    "rule": _TEXT, "reason": _TEXT, "file": _TEXT, "line": _COUNT,
    "principal": {"anyOf": [{"type": "null"}, _object({"subject": _TEXT, "issuer": _TEXT})]},
    "client": _MAYBE_TEXT, "session": _TEXT,
    "created": _TIME, "changed": _TIME,
    "expires": {"type": ["string", "null"], "format": "date-time"},
    "seconds_left": {"type": ["integer", "null"]},
    "asked_times": _COUNT, "approvers": _COUNT, "four_eyes": {"type": "boolean"},
    "answers": _list(_ref("Answer")), "grant_terms": _GRANT_TERMS,
    "used_grant": {**_MAYBE_TEXT, "description": "the standing approval that the call used"},
}  # fmt: skip
_WHOLE: Final = {
    **_SUMMARY,
    "digest": {"type": "string", "description": "names what is shown; approve must send it back"},
    "arguments": {"description": "the arguments, whole, numbers as they were written, masked values replaced"},
    "other_parameters": {"description": "every other parameter that the server gets; null for none"},
    "recent": _list(_object({"time": _TIME, "tool": _TEXT, "kind": _TEXT})),
    "limits_after": _list(
        _object({"rule": _TEXT, "total": _AMOUNT, "limit": {"type": ["number", "null"]}})
    ),
}  # fmt: skip
_GRANT: Final = _object({
    "id": _TEXT, "server": _TEXT, "tool": _TEXT, "holder": _TEXT,
    "same": {"type": "object", "additionalProperties": _TEXT},
    "at_most": {"type": "object", "additionalProperties": _MAYBE_TEXT},
    "free": _list(_TEXT), "created": _TIME, "until": _TIME, "seconds_left": _COUNT, "calls_left": _COUNT,
    "calls": _COUNT, "answers": _list(_ref("Answer")),
})  # fmt: skip
_PROBLEM: Final = {
    "type": "object",
    "properties": {"error": _TEXT, "state": {**_STATE, "description": "of the approval, where that is why"}},
    "required": ["error"],
}
_REASON: Final = {"type": "string", "maxLength": 1000}


def _body(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return {"required": bool(required), "content": {"application/json": {"schema": schema}}}


def _answer(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": dict(schema)}}}


_RETRY: Final = {"headers": {"Retry-After": {"schema": _COUNT, "description": "seconds"}}}
_REFUSALS: Final[Mapping[str, dict[str, Any]]] = {
    "400": _answer("the request cannot be read; the text says what to send", _ref("Problem")),
    "401": _answer("no token, or not that of an approver", _ref("Problem")),
    "403": _answer("this approver may not give this answer (four_eyes), or a page of another origin asks",
                   _ref("Problem")),
    "404": _answer("no such approval, or not one that this approver may answer", _ref("Problem")),
    "409": _answer("it is final, in another state, or not what was shown; `state` says which", _ref("Problem")),
    "413": _answer("the body is longer than 64 KiB", _ref("Problem")),
    "415": _answer("the body is not application/json", _ref("Problem")),
    "429": {**_answer("too often; see Retry-After", _ref("Problem")), **_RETRY},
    "503": {**_answer("the store cannot be used; see Retry-After", _ref("Problem")), **_RETRY},
}  # fmt: skip
_ID: Final = {"name": "id", "in": "path", "required": True, "schema": _TEXT}


def _operation(name: str, summary: str, found: dict[str, Any], *refusals: str, **more: Any) -> dict[str, Any]:
    responses = {"200": found, **{status: _REFUSALS[status] for status in refusals}}
    return {"operationId": name, "summary": summary, "responses": responses, **more}


def _decision(name: str, summary: str, body: dict[str, Any]) -> dict[str, Any]:
    whole = _answer("the approval after it; the same answer again gives the same", _ref("Approval"))
    statuses = ("400", "401", "403", "404", "409", "413", "415", "429", "503")
    return {"parameters": [_ID], "post": _operation(name, summary, whole, *statuses, requestBody=body)}


def _get(name: str, summary: str, found: dict[str, Any], *refusals: str, **more: Any) -> dict[str, Any]:
    return {"get": _operation(name, summary, found, "401", "403", *refusals, "429", "503", **more)}


DESCRIPTION: Final[Mapping[str, Any]] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Approvals of intercept-sidecar",
        "version": "1",
        "description": "Calls that wait for a person: list, show, decide. Each approver has a token of his own. "
        "Nothing is decided by GET, and the same answer sent twice counts once.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    },
    "security": [{"token": []}],
    "paths": {
        "/api/approvals": _get(
            "list", "The approvals that this token may see, the newest first",
            _answer("without their arguments: see /api/approvals/{id}",
                    _object({"approvals": _list(_ref("Summary"))})),
            "400",
            parameters=[
                {"name": "state", "in": "query", "schema": _TEXT,
                 "description": "states with commas, or all; without it those that are not final"},
                {"name": "server", "in": "query", "schema": _TEXT},
                {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}},
            ],
        ),
        "/api/approvals/{id}": {
            "parameters": [_ID],
            **_get("show", "One approval, whole", _answer("all that may be known of it", _ref("Approval")), "404"),
        },
        "/api/approvals/{id}/approve": _decision(
            "approve", "Approve the call, or with grant: true calls like it as well",
            _body({"digest": _TEXT, "reason": _REASON, "grant": {"type": "boolean"}}, "digest"),
        ),
        "/api/approvals/{id}/deny": _decision(
            "deny", "Deny the call", _body({"digest": _TEXT, "reason": _REASON})
        ),
        "/api/approvals/{id}/resolve": _decision(
            "resolve", "Say whether a call of which nobody knows took effect (committed) or not",
            _body({"committed": {"type": "boolean"}, "reason": _REASON}, "committed"),
        ),
        "/api/approvals/{id}/revoke": _decision(
            "revoke", "Take back what was approved and not used, and the standing approval", _body({"reason": _REASON})
        ),
        "/api/grants": _get(
            "grants", "The standing approvals that can still be used",
            _answer("the newest first", _object({"grants": _list(_ref("Grant"))})),
        ),
        "/api/openapi.json": {
            "get": {"operationId": "description", "summary": "This document", "security": [],
                    "responses": {"200": _answer("OpenAPI 3.1", {"type": "object"})}},
        },
    },
    "components": {
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        "schemas": {
            "Summary": _object(_SUMMARY), "Approval": _object(_WHOLE), "Grant": _GRANT, "Answer": _ANSWER,
            "Problem": _PROBLEM,
        },
    },
}  # fmt: skip
