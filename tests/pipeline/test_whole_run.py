"""The whole pipeline at a tiny size, stage after stage in the order of dvc.yaml, in an empty folder."""

import hashlib
import importlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.common.account import Account
from stages.common.account_in_words import lines
from stages.common.params import load_params, read_yaml
from stages.common.profiles import merge
from tests.pipeline.recorder import Recorder, leaves
from tests.pipeline.reruns import PIPELINE, declared, other_settings, resolved, too_few, too_many

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("whole run")  # one worker: the run is shared
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
    "evaluate_units": {"encoders": ["supervised"], "bootstrap": 50},
    "failures": {"bootstrap": 50, "permutations": 2, "controls": 2},
    "transfer": {"top_images": 6, "permutations": 1},
}
# Read by dvc.yaml alone, which runs a stage for each of these encoders; and what has one value only.
BY_DVC = {("generate_captions", "encoders"), ("generate_captions", "kind"), ("evaluate_units", "encoders")}
RESULTS = ("data/groups", "data/concepts", "data/explainability", "reports")


def stages_in_order(params):
    """Every stage of dvc.yaml with the key it runs for."""
    for name, definition in PIPELINE.items():
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


def whole_run(folder):
    """Run every stage in a folder; give params, what each stage read of them, and its account."""
    content = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
    merge(content, TINY)
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(content, file)
    read, accounts = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # In another process nobody would see what is read of the params.
        patch.setattr("stages.render_scenes.ProcessPoolExecutor", ThreadPoolExecutor)
        params = load_params()
        recorder = Recorder(params)
        for name, key in stages_in_order(params):
            with recorder.recording() as found:
                accounts[name, *key] = importlib.import_module(f"stages.{name}").run(params, *key)
            read[name, *key] = found
    return params, read, accounts


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A folder in which every stage has run; what was read of the params, and the accounts."""
    folder = tmp_path_factory.mktemp("run")
    return folder, *whole_run(folder)


@pytest.fixture
def run(everything):
    """The folder and the params."""
    return everything[:2]


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
    for name, definition in PIPELINE.items():
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


def test_every_stage_gives_its_account(everything):
    for stage, account in everything[3].items():
        assert isinstance(account, Account), stage
        assert sum(account.wrote.values()) > 0, stage
        said = list(lines(" ".join(stage), account))
        assert said[0].startswith(f"{' '.join(stage)}: ") and "wrote" in said[0]


def test_a_stage_that_drops_something_says_so_in_its_metrics(everything):
    folder, _, _, accounts = everything
    metrics = [json.loads(file.read_text()) for file in (folder / "reports/metrics").glob("*.json")]
    shares = [some["dropped_share"] for some in metrics if "dropped_share" in some]
    dropping = [account for account in accounts.values() if account.dropped]
    assert len(shares) == len(dropping) - 1  # `claims` writes no metrics
    assert sum(some.get("dropped_more_than_1_percent", 0) for some in metrics) > 0


@pytest.fixture(scope="module")
def reads(everything, tmp_path_factory):
    """What each stage reads of the params, in this run or under other settings."""
    folder, params, read, _ = everything
    return other_settings(folder, params, read, tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def content(everything):
    """The params as they are written, with a captioner."""
    written = read_yaml(everything[0] / "params.yaml")
    merge(written, {"generate_captions": {"encoders": ["supervised", "simclr"]}})
    return written


@pytest.fixture(scope="module")
def known(content, tmp_path_factory):
    """What DVC watches for each stage."""
    return declared(resolved(tmp_path_factory.mktemp("dvc"), content))


def test_dvc_runs_a_stage_again_for_every_param_that_it_reads(reads, known):
    assert set(reads) == set(known), "each stage that dvc.yaml knows was watched"
    assert too_few(reads, known) == []


def test_dvc_runs_a_stage_again_for_no_param_that_it_does_not_read(reads, known, content):
    assert too_many(reads, known, list(leaves(content))) == []


def test_every_param_is_read_by_some_stage(reads, content):
    unread = set(leaves(content)) - set().union(*reads.values())
    assert {leaf for leaf in unread if leaf[0] not in ("study", "verify")} == BY_DVC
