"""The audit log: one JSON line for each decision, its outcome, and whatever else changes who may do what."""
