"""The dashboards against Grafana's own types, and drawn by Grafana's own components."""
