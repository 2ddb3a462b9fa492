"""How fast Pixloom is, beside the same work written out by hand: ``python -m benchmarks.speed NAME...`` from the checkout.

The process that alternates and records imports neither torch nor pixloom. All work is done in processes of its own, each with the memory
settings that it would have in use, and what the parent holds cannot be mistaken for their peak memory.
"""
