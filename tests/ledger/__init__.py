"""The ledger of limits."""
