"""From YAML to a policy, and to the bundle that OPA decides by."""
