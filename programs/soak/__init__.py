"""Mixed load for a long while, good and bad: `make soak` shows that nothing grows and nobody who behaves notices."""
