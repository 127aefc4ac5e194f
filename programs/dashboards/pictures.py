"""Takes the pictures of the dashboards for the docs: `python -m programs.dashboards.pictures`.

It runs the scripted traffic with a real Prometheus beside it, asks every query, and draws the answers. What Prometheus
collected stays in `build/dashboards`: with `--again` that is asked and drawn anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image

from programs.dashboards.drawing import THEMES, answers, drawing
from programs.dashboards.files import DASHBOARDS
from programs.dashboards.queries import Span
from programs.traffic.places import world
from programs.traffic.script import LENGTH, Script
from tests.support import ROOT
from tests.support.prometheus import Target, prometheus

COLLECTED: Final = ROOT / "build" / "dashboards"
PICTURES: Final = ROOT / "docs" / "images"
COLOURS: Final = 128
"""Colours of a picture: as many as a dashboard has, with the edges of its letters."""
END: Final = 25.0
"""The second of half a minute at which the traffic ends, or little later."""
STEP, SCRAPE = 2.0, 2.0
"""Seconds between two points, and what Grafana would be told of the time between two scrapes."""


def main() -> None:
    """Write every picture."""
    options = argparse.ArgumentParser(prog="python -m programs.dashboards.pictures", description=__doc__)
    options.add_argument("--again", action="store_true", help="draw what the last run collected")
    options.add_argument("--seconds", type=float, default=LENGTH, help="how long the traffic runs (120)")
    chosen = options.parse_args()
    if not chosen.again:
        shutil.rmtree(COLLECTED, ignore_errors=True)
        collect(COLLECTED, chosen.seconds)
    span = Span(**json.loads((COLLECTED / "span.json").read_text()))
    with prometheus("2", COLLECTED) as asked, drawing() as page:
        for name, make in DASHBOARDS.items():
            dashboard = make()
            answered = answers(asked, dashboard, span)
            for theme in THEMES:
                drawn = page.draw(dashboard, answered, span, theme)
                _save(drawn.picture, PICTURES / f"dashboard-{name.partition('-')[0]}-{theme}.png")
            empty = [panel["title"] for panel in drawn.panels if panel["empty"]]
            print(f"{name}: {len(drawn.panels)} panels, {drawn.marks} marks, empty: {', '.join(empty) or 'none'}")


def collect(folder: Path, seconds: float) -> None:
    """Run the traffic beside a Prometheus that keeps its data in the folder; the time of it is in `span.json`."""
    with tempfile.TemporaryDirectory() as place, world(Path(place)) as running:
        targets = [Target(each.telemetry, each.namespace, each.pod) for each in running.places]
        with prometheus("2", folder, targets):
            # Then no label of a time stands at the very edge, whether there is one each 10, 15 or 30 seconds.
            time.sleep((END - time.time() - seconds) % 30)
            start = time.time()
            Script(running, seconds, print).run()
            span = Span(start, time.time(), STEP, SCRAPE)
    (folder / "span.json").write_text(json.dumps(asdict(span)))


def _save(picture: bytes, path: Path) -> None:
    """Write a picture with few colours: flat areas and letters look the same, at a fraction of the bytes."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
