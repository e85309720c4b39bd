"""The report of a run: a static site."""
