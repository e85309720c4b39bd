"""Read images of any source."""
