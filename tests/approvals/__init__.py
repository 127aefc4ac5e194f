"""Approvals for people. Shared here: calls that ask for one, approvers with their tokens, and the listener they use."""
