"""The section on controls in docs/encoders.md: its example is valid, and its numbers are those of the code."""

import re

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from falcon_dvc.evaluation.explained import decided, enough
from falcon_dvc.params.load import load_params
from falcon_dvc.params.schema import Params
from tests.support.paths import ROOT

SECTION = (ROOT / "docs/encoders.md").read_text(encoding="utf-8").split("\n## Controls\n")[1].split("\n## ")[0]
SHIPPED = load_params(ROOT / "params.yaml")


def rows(excess: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"kind": "feature", "excess": excess, "permuted_excess": -1.0})


def test_the_example_is_a_control_that_fits_its_encoder():
    example = YAML(typ="safe", pure=True).load(re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)[0])
    off = {"encoders": [], "transfers": {}}
    shipped = SHIPPED.model_dump() | {"encoders": example["encoders"], "transfers": {}}
    for section in ("failures", "ablate_features"):
        shipped[section]["encoders"] = off["encoders"]
    assert set(Params.model_validate(shipped).without_controls) == {"vit"}


def test_a_verdict_needs_the_share_of_features_that_the_section_names():
    count = int(re.search(r"With (\d+) features and an FDR", SECTION)[1])
    needed = re.search(
        rf"With {count} features and an FDR of 0\.05, .* (\d+) % .* With {2 * count}, it needs (\d+) %", SECTION
    )
    fdr = SHIPPED.measure_faithfulness.fdr
    for controls, share in enumerate(map(int, needed.groups()), start=1):
        for above, explained in ((share, share), (share - 1, 0)):
            found = decided(rows((np.arange(100) < above).astype(float)), rows(np.zeros(controls * count)), fdr)
            assert found["explained"].sum() == explained
    least = int(re.search(r"Below (\d+) features", SECTION)[1])
    assert enough(rows(np.zeros(least)), fdr) and not enough(rows(np.zeros(least - 1)), fdr)
