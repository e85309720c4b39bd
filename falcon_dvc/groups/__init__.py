"""Select highly and lowly activating images of features and groups (steps 2, 3 and 7)."""
