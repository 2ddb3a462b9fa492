"""How good recipes become, and how fast: races on real pictures. Run it with ``python -m benchmarks.quality``."""
