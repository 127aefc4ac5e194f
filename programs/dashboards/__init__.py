"""Grafana dashboards as code: written to `deploy/grafana`, asked of a Prometheus, drawn for the docs and the tests."""
