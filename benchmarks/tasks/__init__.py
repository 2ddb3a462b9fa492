"""The tasks on real pictures: what is trained, how it is judged, and the gallery. Run it with ``python -m benchmarks.tasks``."""
