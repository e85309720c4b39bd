"""Words and noun phrases of captions (step 9)."""
