"""The whole pipeline at a tiny size, stage after stage in the order of dvc.yaml."""

import importlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from falcon_dvc.params.load import load_params
from tests.support.opened_files import opened_files
from tests.support.recorder import Recorder
from trials.tiny import stages_in_order, write_params


def whole_run(folder):
    """Run every stage in a folder; give params, and for each stage what it read of them, its account, and the data it opened."""
    write_params(folder)
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
