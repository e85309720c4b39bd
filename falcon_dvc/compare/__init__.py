"""Compare the results of two revisions."""
