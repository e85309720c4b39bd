"""Linear maps between two feature spaces, and what they carry over."""
