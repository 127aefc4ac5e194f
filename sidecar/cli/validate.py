"""`sidecar validate`: every problem of a policy file, each with its place and what to write instead."""

from __future__ import annotations

import sys

import typer

from sidecar.cli.options import ConfigOrFiles, Files, OpaBin, policies
from sidecar.engine import binary
from sidecar.policy.hints import notes
from sidecar.policy.summary import summary
from sidecar.repository.load import find, load


def validate_command(
    ctx: typer.Context, files: Files = None, config: ConfigOrFiles = None, opa_bin: OpaBin = None
) -> int:  # fmt: skip
    """Check a policy file: every mistake, with its place and what to write instead. Ends with 1 if there is one."""
    policy, warnings = load(find(policies(ctx, config, files)), lambda: binary.find(opa_bin))
    for warning in sorted([*warnings, *notes(policy)]):
        print(warning, file=sys.stderr)
    print("Policy file is valid.")
    print(summary(policy))
    return 0
