"""The whole pipeline at a tiny size, stage after stage in the order of dvc.yaml, in an empty folder."""

import hashlib
import importlib
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.common.params import load_params
from stages.common.profiles import merge

ROOT = Path(__file__).parents[2]
TINY = {
    "render_scenes": {"clip_train": 256, "encoder_train": 256, "probe": 240, "test": 120, "captions": 300},
    "train_clip": {
        "width": 12,
        "embedding": 32,
        "text_width": 32,
        "text_layers": 1,
        "attribute_epochs": 1,
        "contrastive_epochs": 1,
        "batch": 64,
    },
    "train": {
        "supervised": {"stem": 8, "widths": [16, 24], "epochs": 1, "batch": 64},
        "simclr": {"stem": 8, "widths": [16, 24], "epochs": 1, "batch": 64},
    },
    "find_groups": {"top_k": 12, "min_images": 4, "max_images": 12, "max_groups": 4, "random_images": 12},
    "measure_explainability": {"null_sets": 50, "bootstrap": 50},
    "evaluate_concepts": {"bootstrap": 50, "clear": 0.1},
    "failures": {"bootstrap": 50, "permutations": 2, "controls": 2},
    "transfer": {"top_images": 6, "permutations": 1},
}
RESULTS = ("data/groups", "data/concepts", "data/explainability", "reports")


def stages_in_order(params):
    """Every stage of dvc.yaml with the key it runs for."""
    for name, definition in YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"].items():
        command = definition.get("do", definition)["cmd"].split()
        section = "transfers" if name == "transfer" else "train" if name == "train_encoder" else "encoders"
        # A stage that runs for some encoders only has a list of its own.
        named = getattr(getattr(params, name, None), "encoders", getattr(params, section))
        keys = [(key,) for key in named] if len(command) > 4 else [()]
        yield from ((name, key) for key in keys)


def fingerprints(folder):
    """SHA-256 of every result."""
    found = sorted(path for result in RESULTS for path in (folder / result).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder in which every stage has run."""
    folder = tmp_path_factory.mktemp("run")
    content = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
    merge(content, TINY)
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(content, file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = load_params()
        for name, key in stages_in_order(params):
            importlib.import_module(f"stages.{name}").run(params, *key)
    return folder, params


def test_every_metric_is_a_number(run):
    files = sorted((run[0] / "reports/metrics").glob("*.json"))
    assert len(files) >= 14
    for file in files:
        values = list(_leaves(json.loads(file.read_text(), parse_constant=pytest.fail)))
        assert values and all(isinstance(value, (int, float)) for value in values), file


def _leaves(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    else:
        yield value


def test_report_names_every_encoder(run):
    page = (run[0] / "reports/index.html").read_text(encoding="utf-8")
    assert all(name in page for name in run[1].encoders)


def test_outputs_declared_in_dvc_yaml_exist(run):
    folder, params = run
    for name, definition in YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"].items():
        definition = definition.get("do", definition)
        declared = [entry for kind in ("outs", "metrics", "plots") for entry in definition.get(kind, [])]
        paths = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in declared]
        for _, key in (stage for stage in stages_in_order(params) if stage[0] == name):
            filled = [path.replace("${item.encoder}", *key).replace("${key}", *key) if key else path for path in paths]
            assert all((folder / path).exists() for path in filled), (name, filled)


def test_stages_after_training_give_the_same_bytes_again(run, monkeypatch):
    folder, params = run
    monkeypatch.chdir(folder)
    before = fingerprints(folder)
    for name, key in stages_in_order(params):
        if name not in ("render_scenes", "train_clip", "train_encoder"):
            importlib.import_module(f"stages.{name}").run(params, *key)
    assert fingerprints(folder) == before
