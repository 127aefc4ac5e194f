"""Listeners to events: metrics, audit and log. They hear what happened and change nothing."""
