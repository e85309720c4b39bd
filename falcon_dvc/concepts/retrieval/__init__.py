"""The nearest captions of each crop (step 8)."""
