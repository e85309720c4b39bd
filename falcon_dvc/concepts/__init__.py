"""From crops to ranked words."""
