"""Policy YAML to the bundle that the engine decides by: nodes, model, Rego text, bundle. No engine."""
