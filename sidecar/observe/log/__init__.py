"""The operator's log: what is said of which event, and how a line looks."""
