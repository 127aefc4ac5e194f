"""From a policy repository to a decision at a running sidecar, and every attack on the way: `make policy-repo-test`."""
