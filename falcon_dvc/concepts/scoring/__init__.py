"""Score concepts (Eq. 1), contrast and rank them (steps 10 to 12)."""
