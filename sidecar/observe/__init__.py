"""Observers of events: metrics, audit log and log. They hear what happened and change nothing."""
