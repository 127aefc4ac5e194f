"""Environment variables that set no option, what each is for, and options that no variable sets."""

from __future__ import annotations

from typing import Final

OTHERS: Final = {
    "SIDECAR_POLICY_TOKEN": (
        "The token, or `name:password`, for the place of bundles, as text. Instead of `--policy-token-file`."
    ),
    "SIDECAR_POLICY_KEY": "The private key (PEM) that signs bundles, as text. Instead of `--key`.",
    "OTEL_EXPORTER_OTLP_HEADERS": "With `--otlp`: headers for the collector, as `name=value,name=value`.",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "The same, and wins over it.",
    "OTEL_RESOURCE_ATTRIBUTES": "With `--otlp`: attributes of the resource of spans, written in the same way.",
    "OTEL_SERVICE_NAME": "With `--otlp`: the service's name in spans. Without it: `intercept-sidecar`.",
    "POD_NAME": "The pod, for rules that read `workload`, for audit lines and spans. From Kubernetes' downward API.",
    "POD_NAMESPACE": "Its namespace.",
    "SERVICE_ACCOUNT": "Its service account.",
    "DOCKER_CONFIG": (
        "The folder with Docker's `config.json`, whose credentials open a registry. Without it: `~/.docker`."
    ),
    "XDG_STATE_HOME": (
        "The state folder is `intercept-sidecar` in this folder. Without it, or where it is no absolute path: "
        "`~/.local/state`."
    ),
    "HOME": "Your home, which `~` stands for above.",
    "XDG_RUNTIME_DIR": (
        "Where temporary folders go if the path in `TMPDIR` is too long for a socket. It must be an absolute path."
    ),
    "TMPDIR": "Where temporary folders go: the socket to OPA, compiled policies. Without it: `/tmp`.",
    "PATH": "Where `opa`, `git` and the server's command are looked for.",
    "NO_COLOR": "Set to anything, the log on a terminal has no colours.",
    "COLUMNS": "The width of the tables that `approvals list` writes into a pipe.",
    "SSL_CERT_FILE": "The certificates (PEM) that HTTPS connections of ours trust, instead of the system's.",
    "SSL_CERT_DIR": "The same as a folder.",
    "GOMAXPROCS": "For the OPA that the sidecar starts, whose Go runtime reads it: how many processors it uses.",
    "GOGC": "The same: how often it collects garbage.",
    "GOMEMLIMIT": "The same: the memory that it tries to stay below.",
    "GODEBUG": "The same: Go's own switches.",
    "GOTRACEBACK": "The same: what it says when it crashes.",
    "_SIDECAR_COMPLETE": "Set by the script of `sidecar completion`, when the shell asks for completions.",
}
"""In the order of the page."""

OF_ONE_CALL: Final = (
    "--all", "--args", "--calls", "--check", "--example", "--grants", "--json", "--list", "--markdown", "--severity",
    "--state", "--version", "--watch",
)  # fmt: skip
"""Options that say what one call of a command is about, or what it prints."""
OF_A_PERSON: Final = ("--by", "--reason", "--grant", "--committed", "--failed", "--rollback")
"""Options by which somebody answers for a call, or takes a publication back."""
