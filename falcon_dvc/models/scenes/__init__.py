"""The networks that are trained on the synthetic data set, and their checkpoints."""
