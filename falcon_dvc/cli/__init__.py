"""The command line ``falcon``."""
