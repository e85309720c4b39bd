"""Studies over many worlds: what one seed cannot tell. A second pipeline, studies/dvc.yaml, built from the stages of the first."""
