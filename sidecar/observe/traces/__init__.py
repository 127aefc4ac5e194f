"""Spans of calls for an OpenTelemetry collector: noted when a call is decided and when it ends; sent off its way."""
