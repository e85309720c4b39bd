"""Networks of open_clip: which release a file is of, its weights, and its preprocessing."""
