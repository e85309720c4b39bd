"""FALCON as a DVC pipeline: one module per stage, the mathematics in ``stages.method``."""

import os
import sys

# `python -m stages` looks for modules in the working folder first: a file there must not pass for an installed package. What the
# param `factory` names may still lie there.
if sys.argv[:1] == ["-m"] and sys.path[:1] == [os.getcwd()]:
    sys.path.append(sys.path.pop(0))
