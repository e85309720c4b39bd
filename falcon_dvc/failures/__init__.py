"""Why a classifier fails: blame, clusters, repairs."""
