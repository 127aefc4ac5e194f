"""`sidecar policy`: the verbs of a policy repository, one command a file."""

from __future__ import annotations

import typer

from sidecar.cli.policy_diff import policy_diff_command
from sidecar.cli.policy_init import policy_init_command
from sidecar.cli.policy_publish import publish_command
from sidecar.cli.policy_replay import replay_command
from sidecar.cli.policy_test import policy_test_command

policy_app = typer.Typer(
    help="A policy as a repository: written, tested, compared, built, shipped.", no_args_is_help=True
)
policy_app.command("init")(policy_init_command)
policy_app.command("test")(policy_test_command)
policy_app.command("diff")(policy_diff_command)
policy_app.command("publish")(publish_command)
policy_app.command("replay")(replay_command)
