"""Studies over several synthetic data sets: their stages are those of ``studies/dvc.yaml``."""
