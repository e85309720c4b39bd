"""Explain the failures of a classifier: blame, clusters, repairs."""
