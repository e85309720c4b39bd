"""Find words and noun phrases in captions (step 9)."""
