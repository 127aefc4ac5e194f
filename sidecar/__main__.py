"""The command `sidecar`, also as `python -m sidecar`."""

from __future__ import annotations

import sys

from sidecar import probe


def main() -> None:
    """Run the command line. A probe is answered before anything else is imported: the rest takes ten times as long."""
    match sys.argv[1:]:
        case ["health"]:
            sys.exit(probe.main(None))
        case ["health", "--url", url]:
            sys.exit(probe.main(url))
    from sidecar import cli  # noqa: PLC0415

    cli.main()


if __name__ == "__main__":
    main()
