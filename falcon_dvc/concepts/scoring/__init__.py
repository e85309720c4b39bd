"""Concept scores (Eq. 1) and contrast (steps 10 to 12)."""
