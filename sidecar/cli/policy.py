"""`sidecar policy`: the verbs of a policy repository, one command a file."""

from __future__ import annotations

from sidecar.cli.lazy import commands

policy_app = commands(
    "policy",
    "A policy as a repository: written, tested, compared, built, shipped.",
    {
        "init": "policy_init:policy_init_command",
        "test": "policy_test:policy_test_command",
        "diff": "policy_diff:policy_diff_command",
        "replay": "policy_replay:replay_command",
        "build": "policy_build:policy_build_command",
        "publish": "policy_publish:publish_command",
    },
)
