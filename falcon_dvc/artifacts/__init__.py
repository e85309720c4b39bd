"""Files that pass between stages, and the summary of each stage."""
