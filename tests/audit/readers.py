"""Readers of CEF and of RFC 5424, written from the two specifications and from nothing of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

KEY = re.compile(r"[A-Za-z0-9]+")
NAME = re.compile(r"[!#-<>-\\^-~]{1,32}")  # printable ASCII without the blank, '=', ']' and '"'


def cef(line: bytes) -> tuple[list[str], dict[str, str]]:
    """The seven fields of the header, and the extension."""
    text = line.decode("utf-8")
    assert "\n" not in text
    assert "\r" not in text
    fields: list[str] = []
    at = 0
    while len(fields) < 7:
        chars = []
        while text[at] != "|":
            if text[at] == "\\":
                at += 1
                assert text[at] in "\\|", "only a backslash and a bar are escaped in a header"
            chars.append(text[at])
            at += 1
        fields.append("".join(chars))
        at += 1
    # A key follows a blank and ends at an equals sign that no backslash is before.
    begins = [(m.start(1), m.group(1), m.end()) for m in re.finditer(r"(?:(?<= )|^)([A-Za-z0-9]+)=", text[at:])]
    assert begins
    assert begins[0][0] == 0
    extension: dict[str, str] = {}
    ends = [begin - 1 for begin, _, _ in begins[1:]] + [len(text) - at]
    for (_, key, start), end in zip(begins, ends, strict=True):
        assert key not in extension, f"{key} stands twice"
        extension[key] = _cef_value(text[at:][start:end])
    return fields, extension


def _cef_value(raw: str) -> str:
    value, at = [], 0
    while at < len(raw):
        char = raw[at]
        assert char != "=", "an equals sign that is not escaped begins a value"
        if char == "\\":
            at += 1
            char = {"\\": "\\", "=": "=", "n": "\n", "r": "\r"}[raw[at]]
        value.append(char)
        at += 1
    return "".join(value)


@dataclass
class Message:
    """A message of RFC 5424."""

    priority: int
    time: str
    host: str
    app: str
    process: str
    id: str
    data: dict[str, dict[str, str]] = field(default_factory=dict)
    text: str = ""


def rfc5424(line: bytes) -> Message:
    """The message in a line."""
    assert b"\n" not in line
    found = re.match(
        rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128})"
        rb" ([!-~]{1,32}) ",
        line,
    )
    assert found is not None
    priority = int(found[1])
    assert priority <= 191
    time, host, app, process, id_ = (part.decode("ascii") for part in found.groups()[1:])
    message = Message(priority, time, host, app, process, id_)
    at = found.end()
    while line[at : at + 1] == b"[":
        at = _element(line, at + 1, message)
    assert message.data
    if at < len(line):
        assert line[at : at + 1] == b" "
        rest = line[at + 1 :]
        if rest.startswith(b"\xef\xbb\xbf"):
            message.text = rest[3:].decode("utf-8")
        else:
            message.text = rest.decode("ascii")
    return message


def _element(line: bytes, at: int, message: Message) -> int:
    name, at = _name(line, at)
    assert name not in message.data, "an element stands twice"
    params: dict[str, str] = {}
    while line[at : at + 1] == b" ":
        param, at = _name(line, at + 1)
        assert line[at : at + 2] == b'="'
        at += 2
        value = bytearray()
        while line[at] != 0x22:
            if line[at] == 0x5C:
                assert line[at + 1] in b'"\\]', "a backslash that escapes nothing"
                at += 1
            else:
                assert line[at] != 0x5D, "a bracket that is not escaped"
            value.append(line[at])
            at += 1
        params[param] = value.decode("utf-8")
        at += 1
    assert line[at : at + 1] == b"]"
    message.data[name] = params
    return at + 1


def _name(line: bytes, at: int) -> tuple[str, int]:
    found = NAME.match(line[at : at + 40].decode("latin-1"))
    assert found is not None
    return found[0], at + found.end()
