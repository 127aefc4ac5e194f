"""Installing: what `make` sets up, what `pip install`, `uv tool install` and `uvx` give, and the OPA that is kept."""
