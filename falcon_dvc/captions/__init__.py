"""Read a caption corpus."""
