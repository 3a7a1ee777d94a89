"""One file per contender; each a command of its own that benchmarks.registry starts."""
