"""A blind rating sheet for people, and its analysis."""
