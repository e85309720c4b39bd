"""Retrieve the nearest captions of each crop (step 8)."""
