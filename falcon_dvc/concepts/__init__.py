"""Turn crops into ranked words."""
