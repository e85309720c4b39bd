"""The claims of the paper, and whether they hold."""
