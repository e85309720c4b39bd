"""FALCON as a DVC pipeline: one module per stage, the mathematics in ``stages.method``."""
