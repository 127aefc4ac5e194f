"""The templates and the files beside them, read once. Whatever a template is given from outside is escaped."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sidecar.approvals.page.signs import marked, pieces, plain_pieces
from sidecar.text import visible

_HERE: Final = Path(__file__).parent
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(msgspec.Struct, frozen=True):
    """A file that pages refer to."""

    content_type: str
    body: bytes


class Templates:
    """Renders pages. Its assets have paths that name their content, so that a browser may keep them."""

    def __init__(self) -> None:
        self.assets: dict[str, Asset] = {}
        """By path."""
        self._paths: dict[str, str] = {}
        for file in sorted((_HERE / "static").iterdir()):
            body = file.read_bytes()
            path = f"/static/{hashlib.sha256(body).hexdigest()[:12]}/{file.name}"
            self.assets[path] = Asset(_TYPES[file.suffix], body)
            self._paths[file.name] = path
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "marked": marked,
            "pieces": pieces,
            "plain_pieces": plain_pieces,
            "visible": visible,
        }
        self._environment.globals |= {"asset": self._paths.__getitem__}

    def render(self, template: str, **values: Any) -> bytes:
        """A page in HTML."""
        return self._environment.get_template(f"{template}.html").render(values).encode()
