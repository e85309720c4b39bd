"""The whole pipeline at a tiny size, stage after stage in the order of dvc.yaml."""

import copy
import importlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from falcon_dvc.params.load import load_params, merge
from tests.support.opened_files import opened_files
from tests.support.recorder import Recorder
from trials.tiny import stages_in_order, write_params

# Smaller than the trials' run: the tests run its stages several times.
PCA = {"fit": "pca", "components": 12, "vectors": 200}
SMALLER = {
    "render_scenes": {
        "clip_train": 64, "encoder_train": 64, "probe": 160, "test": 80, "captions": 200, "size": 32, "diameters": [10, 16],
    },
    "train": {name: {"stem": 8, "widths": [12, 16]} for name in ("supervised", "simclr")},
    "find_groups": {"top_k": 8, "max_images": 8, "low_images": 8, "random_images": 8},
    # The features of one encoder are components; so the control is that of the other.
    "encoders": {"simclr": {"basis": PCA}, "untrained_1": {"control_of": ["supervised"]}},
    "report": {"high": 4, "low": 2, "thumbnail": 32},
    "evaluate_classes": {"encoders": ["supervised"], "bootstrap": 10, "clear": 0.05},
    "fit_probe": {"encoders": ["simclr"], "strengths": [0.01], "iterations": 10, "bootstrap": 10},
}  # fmt: skip


def write_smaller_params(folder, changes=None):
    """Write the params of the run, with changes."""
    content = copy.deepcopy(SMALLER)
    merge(content, changes or {})
    write_params(folder, content)


def whole_run(folder):
    """Run every stage in a folder; give params, and for each stage what it read of them, its account, and the data it opened."""
    write_smaller_params(folder)
    read, summaries, opened = {}, {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # In another process nobody would see what is read of the params.
        patch.setattr("stages.render_scenes.ProcessPoolExecutor", ThreadPoolExecutor)
        params = load_params()
        recorder = Recorder(params)
        for name, key in stages_in_order(params):
            with recorder.recording() as found, opened_files() as files:
                summaries[name, *key] = importlib.import_module(f"stages.{name}").run(params, *key)
            read[name, *key] = found
            opened[name, *key] = {file for file in files if file.parts[0] == "data" and (folder / file).exists()}
    return params, read, summaries, opened
