"""People who approve: the API and the page, who may use them, webhooks, and the upkeep of what waits."""
