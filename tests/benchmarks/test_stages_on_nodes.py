"""The run of all stages with shards on nodes of limited memory: its stages, its params, and what it compares."""

import re
import resource

import numpy as np
import pytest

from benchmarks.limited_nodes import holds
from benchmarks.stages_on_nodes import ORDER, PAIR, SHARED, compared, limited, prepare
from falcon_dvc.params.load import load_params, read_yaml
from tests.support.paths import ROOT
from trials.tiny import definitions, stages_in_order

EMBEDS = re.compile(r"\b(embed_images|embed_crops|embeddings_of_crops)\(params")


def test_every_stage_that_uses_the_executor_is_run():
    sources = {name: (ROOT / "stages" / f"{name}.py").read_text(encoding="utf-8") for name in definitions()}
    sharing = {name for name, text in sources.items() if "executor_of(" in text or EMBEDS.search(text)}
    sharing.add("transfer")  # falcon_dvc.transfer embeds its crops
    assert sharing == set(SHARED) and set(SHARED) <= {name for name, _ in ORDER}


def test_the_params_explain_some_features_of_the_wide_encoder(tmp_path):
    checkpoint = ROOT / "models" / "supervised.safetensors"
    if not checkpoint.exists():
        pytest.skip("needs the models of a run (make repro)")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "supervised.safetensors").symlink_to(checkpoint)
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    before = (ROOT / "params.yaml").read_bytes()
    prepare(tmp_path, 24, 5)
    params = load_params(tmp_path / "params.yaml")
    assert params.encoders["supervised"].features.random == 5 and list(params.transfers) == [PAIR]
    assert set(ORDER) <= {*stages_in_order(params)}
    assert (ROOT / "params.yaml").read_bytes() == before != (tmp_path / "params.yaml").read_bytes()
    assert (
        read_yaml(tmp_path / "params.yaml")["encoders"]["simclr"]
        == read_yaml(ROOT / "params.yaml")["encoders"]["simclr"]
    )


def test_a_limit_holds_for_a_while(tmp_path):
    np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.uint8, (2**28,))
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with limited(used_bytes() + 2**24):
        assert not holds(tmp_path / "large.npy")
    assert resource.getrlimit(resource.RLIMIT_DATA) == before and holds(tmp_path / "large.npy")


def used_bytes():
    """The private memory of this process that the limit counts."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData"))


def test_files_that_differ_are_told():
    here = {"one": (1.0, {"a": "x"}), "two": (2.0, {"b": "y"})}
    there = {"one": (3.0, {"a": "x"}), "two": (4.0, {"b": "z"})}
    found = compared(here, there)
    assert found["one"] == {"seconds_in_one_process": 1.0, "seconds_on_the_nodes": 3.0, "files": 1, "same_files": True}
    assert not found["two"]["same_files"]


def test_an_unfinished_run_leaves_the_limit_as_it_was():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(RuntimeError), limited(used_bytes() + 2**30):
        raise RuntimeError
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
