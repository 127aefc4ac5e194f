"""The command line: one command a file."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

import typer

from sidecar.cli.groups import wrong_usage
from sidecar.cli.lazy import commands
from sidecar.cli.printing import complain
from sidecar.cli.version import Version
from sidecar.errors import CasesError, PolicyError, SidecarError, UsageError


def _root(version: Version = False) -> None:
    """The options of `sidecar` itself, which are done before this is called."""


app = commands(
    "sidecar",
    "A policy sidecar between AI agents and MCP servers: `sidecar init` writes a first policy, and "
    "`sidecar run -c policy.yaml -- COMMAND` puts it in front of a server.",
    {
        "init": "init:init_command",
        "run": "run:run_command",
        "validate": "validate:validate_command",
        "compile": "compile:compile_command",
        "explain": "explain:explain_command",
        "risks": "risks:risks_command",
        "approvals": "approvals:approvals_app",
        "audit": "audit:audit_app",
        "policy": "policy:policy_app",
        "status": "status:status_command",
        "health": "health:health_command",
        "schema": "schema:schema_command",
        "completion": "completion:completion_command",
        "version": "version:version_command",
    },
    default="run",  # so that whoever comes from Intercept changes one word of a configuration
    callback=_root,
)


def main() -> None:
    """Run the command line: 0 for success, 1 for a wrong policy or a failed start, 2 for wrong usage or tests."""
    for stream in (sys.stdout, sys.stderr):
        # Whatever the locale: our output quotes policies, which may hold any character.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.exit(_main())


def _main() -> int:
    if "_SIDECAR_COMPLETE" in os.environ:
        from sidecar.cli.completion import answer_shells  # noqa: PLC0415

        answer_shells()
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        return _fail(wrong_usage(error), 2)
    except UsageError as error:
        return _fail(str(error), 2)
    except (CasesError, PolicyError) as error:
        for problem in error.problems:
            _say(problem, problem)
        return 1 if isinstance(error, PolicyError) else 2
    except SidecarError as error:
        return _fail(str(error), 1)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    return status if isinstance(status, int) else 0


def _fail(text: str, status: int) -> int:
    line = " ".join(text.split())
    _say(line, f"sidecar: {line}")
    return status


def _say(text: str, line: str) -> None:
    """Say what failed: as a line for people, or in the log where programs read it."""
    # Only here: what fails before there is a log needs none.
    from sidecar.system.operator_log import fields, is_for_programs, log  # noqa: PLC0415

    if is_for_programs():
        log.critical("%s", text, extra=fields("start_failed"))
    else:
        complain(line)
