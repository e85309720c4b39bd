"""Transfer concepts between two feature spaces by linear maps."""
