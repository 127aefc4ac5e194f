"""The dashboards, as near to Grafana as it goes: its types, its components, and links that lead to real audit lines.

Grafana's server cannot be had where this is built. Its types of dashboards can, and the components that draw panels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from programs.dashboards.drawing import THEMES, Drawing, Drawn, Theme, answers, drawing
from programs.dashboards.files import DASHBOARDS, text_of
from programs.dashboards.queries import Span
from programs.dashboards.types import complaints
from tests.observability.conftest import Watched
from tests.observability.empty import QUERIES

pytestmark = pytest.mark.observability

MISSPELT = {
    "a field of a panel": ('"description"', '"descripton"'),
    "a setting of all graphs": ('"drawStyle"', '"drawStile"'),
    "an option of one kind of panel": ('"graphMode"', '"graphMod"'),
    "a value": ('"drawStyle": "line"', '"drawStyle": "lines"'),
    "a setting of one field": ('"custom.width"', '"custom.widht"'),
    "a transformation": ('"id": "organize"', '"id": "organise"'),
    "a variable": ('"includeAll"', '"includeall"'),
    "a query": ('"legendFormat"', '"legend"'),
    "an annotation": ('"iconColor"', '"iconColour"'),
}


class Drawings:
    """The dashboards, each drawn once, from what Debian's Prometheus saw of the script."""

    def __init__(self, watched: Watched, page: Drawing) -> None:
        self.page = page
        self.span = Span(watched.start, watched.end, step=2.0, scrape=2.0)
        self._server = watched.servers["2"]
        self._answers: dict[str, Any] = {}
        self._drawn: dict[tuple[str, Theme], Drawn] = {}

    def answers(self, name: str) -> Any:
        """What Prometheus answers to the queries of a dashboard."""
        if name not in self._answers:
            self._answers[name] = answers(self._server, DASHBOARDS[name](), self.span)
        return self._answers[name]

    def of(self, name: str, theme: Theme) -> Drawn:
        """A dashboard, drawn."""
        if (name, theme) not in self._drawn:
            self._drawn[name, theme] = self.page.draw(DASHBOARDS[name](), self.answers(name), self.span, theme)
        return self._drawn[name, theme]


@pytest.fixture(scope="module")
def drawings(watched: Watched) -> Iterator[Drawings]:
    """Grafana's components in Debian's Chromium."""
    with drawing() as page:
        yield Drawings(watched, page)


def test_grafanas_types_have_nothing_to_say() -> None:
    assert complaints({name: text_of(name) for name in DASHBOARDS}) == ""


def test_grafanas_types_find_what_is_misspelt() -> None:
    good = text_of("health")
    for right, _ in MISSPELT.values():
        assert right in good
    named = {f"case{number}": good.replace(*words, 1) for number, words in enumerate(MISSPELT.values())}
    said = complaints(named)
    missed = [what for number, what in enumerate(MISSPELT) if f"case{number}.ts" not in said]
    assert not missed


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_is_drawn_and_shows_something(drawings: Drawings, name: str, theme: Theme) -> None:
    drawn = drawings.of(name, theme)
    assert drawn.picture.startswith(b"\x89PNG")
    assert drawn.marks > 0, "no mark of a new policy"
    empty = [panel["title"] for panel in drawn.panels if panel["empty"]]
    assert [title for title in empty if not rightly_empty(name, title)] == []


@pytest.mark.parametrize("name", ["denials", "limits-and-approvals"])
def test_every_panel_with_links_leads_to_audit_lines(watched: Watched, drawings: Drawings, name: str) -> None:
    linked = [panel for panel in drawings.of(name, "light").panels if panel["links"]]
    assert len(linked) > 3
    for panel in linked:
        assert all(link.startswith("http://localhost:9428/select/vmui/#/?") for link in panel["links"])
        # Not each of them: a limit may have refused nothing, and `_other` stands for tools of other names.
        queries = [unquote(link.partition("&query=")[2]) for link in panel["links"]]
        assert any(watched.store.find(query) for query in queries), (panel["title"], queries)


def test_a_kind_of_panel_that_cannot_be_drawn_is_an_error(drawings: Drawings) -> None:
    odd = json.loads(text_of("health").replace('"type": "table"', '"type": "piechart"'))
    with pytest.raises(RuntimeError, match="a kind of panel that cannot be drawn: piechart"):
        drawings.page.draw(odd, drawings.answers("health"), drawings.span, "dark")


def test_a_missing_package_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("programs.dashboards.types.GRAFANA", tmp_path)
    with pytest.raises(FileNotFoundError, match="run `make grafana`"):
        complaints({})


def rightly_empty(name: str, title: str) -> bool:
    """True where `empty.py` says why a query of the panel finds nothing."""
    return any(place.startswith(f"{name}: {title}") for place in QUERIES)
