"""docs/python.md against the code: functions that exist, and steps that explain a feature."""

import re
from importlib import import_module

import numpy as np
import pytest

import falcon_dvc
from tests.support.coloured_squares import CAPTIONS, NamesColours, SeesColours, pictures
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
DOTTED = sorted(set(re.findall(r"`(falcon_dvc(?:\.\w+)+)", PAGE)) - {"falcon_dvc.errors"})


@pytest.mark.parametrize("name", DOTTED)
def test_functions_exist(name):
    module, _, function = name.rpartition(".")
    assert callable(getattr(import_module(module), function))


def test_the_steps_one_by_one_name_the_colour_that_the_feature_sees():
    features, maps = falcon_dvc.network(SeesColours()).activations(pictures())
    names = {"images": np.stack(pictures()), "captions": CAPTIONS, "features": features, "maps": maps, "FEATURE": 2}
    names |= {"embed_images": NamesColours().embed_images, "embed_texts": NamesColours().embed_texts}
    exec(compile(BLOCKS[1], "docs/python.md", "exec"), names)
    ranked = names["ranked"]
    assert ranked["blue"] == max(ranked.values()) > 0.15 and ranked["red"] < 0.01
