"""Measure explanations: against ground truth, baselines and null distributions."""
