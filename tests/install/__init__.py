"""Installing: what `make` sets up, every way to install from source, the OPA that is kept, and README as pasted."""
