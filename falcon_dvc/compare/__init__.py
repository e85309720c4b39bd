"""Compare two revisions of a run."""
