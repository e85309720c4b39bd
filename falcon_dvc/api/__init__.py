"""Explain features in memory, for notebooks: arrays and lists in, tables out, without DVC and params.yaml."""
