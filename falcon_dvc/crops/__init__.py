"""Locate where features fire in an image, and cut crops around it (steps 4 and 5)."""
