"""The page of approvals in a real Chromium: what people see, and what pages of others cannot do with it."""
