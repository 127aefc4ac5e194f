"""Metrics of events: what they show, and their bounds."""
