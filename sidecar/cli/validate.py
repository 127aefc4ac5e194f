"""`sidecar validate`: every problem of a policy file, each with its place and what to write instead."""

from __future__ import annotations

import typer

from sidecar.cli.options import ConfigOrFiles, Files, OpaBin, policies
from sidecar.cli.printing import complain, say
from sidecar.engine import binary
from sidecar.policy.hints import notes
from sidecar.policy.summary import summary
from sidecar.repository.load import find, load


def validate_command(
    ctx: typer.Context, files: Files = None, config: ConfigOrFiles = None, opa_bin: OpaBin = None
) -> int:  # fmt: skip
    """Check a policy file: every mistake, with its place and what to write instead. Ends with 1 if there is one."""
    policy, warnings = load(find(policies(ctx, config, files)), lambda: binary.find(opa_bin))
    complain(*map(str, sorted([*warnings, *notes(policy)])))
    say("Policy file is valid.", summary(policy))
    return 0
