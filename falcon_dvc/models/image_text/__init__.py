"""The joint image-text encoders."""
