"""Run FALCON as a DVC pipeline: one module for each stage of dvc.yaml, the mathematics in ``falcon_dvc``."""

import os
import sys

# `python -m stages` searches modules in the working folder first. Moved to the end, this folder cannot replace an installed
# package. The module that the param `factory` names may still be there.
if sys.argv[:1] == ["-m"] and sys.path[:1] == [os.getcwd()]:
    sys.path.append(sys.path.pop(0))
