"""`sidecar validate`: every problem of a policy file, each with its place and what to write instead."""

from __future__ import annotations

import sys

from sidecar.cli.options import Config, OpaBin
from sidecar.engine import binary
from sidecar.policy.hints import notes
from sidecar.policy.summary import summary
from sidecar.repository.load import find, load


def validate_command(config: Config, opa_bin: OpaBin = None) -> int:
    """Check a policy file."""
    policy, warnings = load(find(config), lambda: binary.find(opa_bin))
    for warning in sorted([*warnings, *notes(policy)]):
        print(warning, file=sys.stderr)
    print("Policy file is valid.")
    print(summary(policy))
    return 0
