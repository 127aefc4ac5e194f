"""A call in, a verdict out: asks the engine, claims limits, emits the decision, allows or denies."""
