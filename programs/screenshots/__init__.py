"""Pictures of the page of approvals for the docs: taken of the real page, in a real browser."""
