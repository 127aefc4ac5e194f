"""`sidecar audit`: what can be done with audit files."""

from __future__ import annotations

from sidecar.cli.lazy import commands

audit_app = commands("audit", "The files of the audit log.", {"verify": "audit_verify:verify_command"})
