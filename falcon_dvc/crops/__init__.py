"""Where features fire in an image, and the crops around it (steps 4 and 5)."""
