"""Property tests draw the same examples on every machine, and no deadline stops them on a noisy one."""

from hypothesis import settings

settings.register_profile("project", deadline=None, derandomize=True, database=None, max_examples=30)
settings.load_profile("project")
