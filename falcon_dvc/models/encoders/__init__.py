"""The encoders to explain."""
