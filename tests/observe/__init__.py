"""What is told of what happened: metrics, audit trail, log, and the endpoint that serves it."""
