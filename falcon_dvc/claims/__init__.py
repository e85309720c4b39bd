"""Decide whether the claims of the paper hold."""
