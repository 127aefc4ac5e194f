"""What a browser sends with a form or in a query, as values. No HTML, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

from sidecar.http.values import Request

MAX_FIELDS: Final = 20
FORM: Final = "application/x-www-form-urlencoded"

Fields: TypeAlias = Mapping[str, str]


class BadForm(ValueError):
    """What was sent is no form of ours; the text says why, for people."""


def form_of(request: Request) -> Fields:
    """The fields of a form. Raises `BadForm`, and `Repeated` for a header that stands twice."""
    media = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if media != FORM or not isinstance(request.body, bytes):
        raise BadForm("what was sent is no form of this page")
    try:
        text = request.body.decode("ascii")
    except UnicodeDecodeError:
        raise BadForm("what was sent is no form of this page") from None
    return _fields(text)


def query_of(request: Request) -> Fields:
    """The fields of a query. Raises `BadForm`."""
    return _fields(request.query)


def _fields(text: str) -> Fields:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise BadForm("a field cannot be read") from None
    fields = {name: value.replace("\r\n", "\n").strip() for name, value in pairs}
    if len(fields) != len(pairs):
        raise BadForm("a field stands twice")
    return fields
