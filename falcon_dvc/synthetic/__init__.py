"""The synthetic data set: images with known attributes, captions, and training on them."""
