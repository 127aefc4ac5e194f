"""Writes the dashboards: `python -m programs.dashboards` writes `deploy/grafana/*.json`."""

from __future__ import annotations

from programs.dashboards.files import DASHBOARDS, FOLDER, text_of


def main() -> None:
    """Write every dashboard."""
    FOLDER.mkdir(exist_ok=True)
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(text_of(name))


main()
