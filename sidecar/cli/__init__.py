"""The command line: one command a file."""

from __future__ import annotations

import sys
from io import TextIOWrapper

import typer

from sidecar.cli.approvals import approvals_app
from sidecar.cli.compile import compile_command
from sidecar.cli.explain import explain_command
from sidecar.cli.health import health_command
from sidecar.cli.policy import policy_app
from sidecar.cli.risks import risks_command
from sidecar.cli.run import run_command
from sidecar.cli.validate import validate_command
from sidecar.cli.version import version_command
from sidecar.errors import CasesError, PolicyError, SidecarError, UsageError

app = typer.Typer(
    name="sidecar",
    help="A policy sidecar between AI agents and MCP servers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # in "rich" a bracket, as in [default: …], is markup and not shown
)
app.command("run")(run_command)
app.command("validate")(validate_command)
app.command("compile")(compile_command)
app.command("explain")(explain_command)
app.command("risks")(risks_command)
app.add_typer(approvals_app, name="approvals")
app.add_typer(policy_app, name="policy")
app.command("health")(health_command)
app.command("version")(version_command)


def main() -> None:
    """Run the command line: 0 for success, 1 for a wrong policy or a failed start, 2 for wrong usage or tests."""
    for stream in (sys.stdout, sys.stderr):
        # Whatever the locale: our output quotes policies, which may hold any character.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.exit(_main())


def _main() -> int:
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        return _fail(f"{error.format_message()}; see `sidecar --help`", 2)
    except UsageError as error:
        return _fail(str(error), 2)
    except (CasesError, PolicyError) as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 1 if isinstance(error, PolicyError) else 2
    except SidecarError as error:
        return _fail(str(error), 1)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    return status if isinstance(status, int) else 0


def _fail(text: str, status: int) -> int:
    print("sidecar:", " ".join(text.split()), file=sys.stderr)
    return status
