"""The whole pipeline at a tiny size, stage after stage in the order of dvc.yaml."""

import importlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from falcon_dvc.params.load import load_params
from tests.support.recorder import Recorder
from trials.tiny import stages_in_order, write_params


def whole_run(folder):
    """Run every stage in a folder; give params, what each stage read of them, and its account."""
    write_params(folder)
    read, summaries = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # In another process nobody would see what is read of the params.
        patch.setattr("stages.render_scenes.ProcessPoolExecutor", ThreadPoolExecutor)
        params = load_params()
        recorder = Recorder(params)
        for name, key in stages_in_order(params):
            with recorder.recording() as found:
                summaries[name, *key] = importlib.import_module(f"stages.{name}").run(params, *key)
            read[name, *key] = found
    return params, read, summaries
