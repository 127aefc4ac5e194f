"""The page of approvals without a browser: its values, and what becomes of texts from outside."""
