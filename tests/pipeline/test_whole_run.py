"""The whole pipeline at a tiny size, stage after stage in the order of dvc.yaml, in an empty folder."""

import dataclasses
import importlib
import itertools
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import falcon_dvc
from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table
from falcon_dvc.artifacts.summary import StageSummary, lines
from falcon_dvc.compute import resume
from falcon_dvc.compute.resume import Checkpoint
from falcon_dvc.concepts.retrieval import write_index
from falcon_dvc.concepts.scoring import corpus
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.image_text.load import load_image_text
from falcon_dvc.params.load import load_params, merge, read_yaml
from tests.support.recorder import WITHOUT_EFFECT, leaves
from tests.support.remembered_stages import resolved_stages
from tests.support.reruns import (
    ALIGNMENTS,
    BY_FILE,
    HUMAN_CAPTIONS,
    declared,
    other_settings,
    resolved,
    too_few,
    too_many,
)
from tests.support.whole_runs import whole_run, write_smaller_params
from trials.tiny import fingerprints, outputs, stages_in_order

# Read by dvc.yaml alone, which runs a stage for each of these encoders; and what has one value only.
OF_LISTS = {"generate_captions", "evaluate_units"}
BY_DVC = {("generate_captions", "kind"), *((stage, "encoders") for stage in OF_LISTS)}
# Waited for by stages, and parts of params that DVC compares.
UNREAD = [Path("data/params_checked.txt"), Path("data/code"), Path("data/encoders"), Path("data/bases")]
# A control, which has the references of its encoder; and encoders without a basis.
READING_NO_IMAGE = {("extract_references", "untrained_1"), ("fit_basis", "supervised"), ("fit_basis", "untrained_1")}
# Read for crops from maps, by a ranking over all images, by the correction of hubs, and for an encoder without a classifier of its own.
BY_OTHER_SETTINGS = {
    "mine_crops": [Path("data/image_embeddings")],
    "score_concepts": [Path("data/image_captions"), Path("data/image_embeddings"), Path("data/images.parquet")],
    "transfer": [Path("data/image_captions"), Path("data/image_embeddings")],
    "failures": [Path("data/probes")],
    "ablate_features": [Path("data/probes"), Path("data/image_captions"), Path("data/image_embeddings")],
}
RESULTS = ("data/groups", "data/concepts", "data/explainability", "reports")


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
    assert all(name in page for name in run[1].without_controls)


def test_outputs_declared_in_dvc_yaml_exist(run):
    folder, params = run
    for stage in stages_in_order(params):
        assert all((folder / path).exists() for path in outputs(stage)), stage


def test_stages_after_training_give_the_same_bytes_again(run, monkeypatch):
    folder, params = run
    monkeypatch.chdir(folder)
    before = fingerprints(folder, RESULTS)
    for name, key in first_and_last(stages_in_order(params)):
        if name not in ("render_scenes", "train_clip", "train_encoder"):
            importlib.import_module(f"stages.{name}").run(params, *key)
    assert fingerprints(folder, RESULTS) == before


def first_and_last(stages):
    """Of a stage that runs for several encoders, those for the first and for the last, which is a control."""
    for _, runs in itertools.groupby(stages, key=lambda stage: stage[0]):
        first, *others = runs
        yield from (first, *others[-1:])


CHOICE = [2, 5, 8, 11, 14]
BEFORE_THE_CHOICE = {"render_scenes", "train_clip", "train_encoder", "collect_images", "extract_activations"}
BEFORE_THE_CHOICE |= {"build_caption_index", "parse_captions", "evaluate_units"}
TESTED_ELSEWHERE = {"report"}  # tests/pipeline/test_own_data.py


def test_every_later_stage_works_on_chosen_features(everything, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(everything[0], folder)
    write_smaller_params(folder, {"encoders": {"supervised": {"features": CHOICE}}, "transfer": {"top_images": 2}})
    monkeypatch.chdir(folder)
    params = load_params()
    for name, key in stages_in_order(params):
        if name not in BEFORE_THE_CHOICE | TESTED_ELSEWHERE and key != ("simclr",):
            importlib.import_module(f"stages.{name}").run(params, *key)
    for file in Path("reports/metrics").glob("*.json"):
        json.loads(file.read_text(), parse_constant=pytest.fail)
    groups = pd.read_parquet("data/groups/supervised/groups.parquet")
    assert set(groups.loc[groups["size"] == 1, "group"]) == {f"f{feature}" for feature in CHOICE}
    few, all_of_them = explanations(folder), explanations(everything[0])
    both = few.join(all_of_them, how="inner", rsuffix="_among_all")
    assert len(both) >= 0.8 * len(few)
    for column in few:
        assert np.allclose(both[column], both[f"{column}_among_all"]), column


def explanations(folder):
    """The scores of the words of the chosen features, on their own crops and on low ones.

    A run on few features has fewer random crops: their scores differ, and so may the order of words.
    """
    table = pd.read_parquet(folder / "data/concepts/supervised/concepts.parquet")
    chosen = table[table["group"].isin([f"f{feature}" for feature in CHOICE])]
    return chosen.set_index(["group", "kind", "concept"])[["score", "low_score", "support"]]


@pytest.fixture(scope="module")
def copy(everything, tmp_path_factory):
    """The same folder, for stages that are disturbed; and the params."""
    folder = tmp_path_factory.mktemp("disturbed") / "run"
    shutil.copytree(everything[0], folder)
    write_smaller_params(folder, {name: {"batch_size": 16} for name in ("extract_activations", "mine_crops")})
    return folder, load_params(folder / "params.yaml")


@pytest.fixture
def noted(copy, monkeypatch):
    """Every step of a long stage is noted at once, and this list tells which."""
    steps, plain = [], Checkpoint.save
    monkeypatch.chdir(copy[0])
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    monkeypatch.setattr(write_index, "EMBEDDED_AT_ONCE", 64)
    monkeypatch.setattr(corpus, "CAPTIONS_AT_ONCE", 50)
    monkeypatch.setattr(Checkpoint, "save", lambda part, step, **kept: (steps.append(step), plain(part, step, **kept)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a process that has used several cannot be forked
    yield steps
    torch.set_num_threads(threads)


def run_and_die(steps, params, stage, *key):
    """Run a stage in this process, which is killed after so many steps."""
    left, plain = iter(range(steps - 1, -1, -1)), Checkpoint.save

    def note(part, step, **kept):
        plain(part, step, **kept)
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoint.save = note
    importlib.import_module(f"stages.{stage}").run(params, *key)


def killed_at(steps, params, stage):
    """Exit code of a stage that is killed after so many steps."""
    child = multiprocessing.get_context("fork").Process(target=run_and_die, args=(steps, params, *stage))
    child.start()
    child.join()
    return child.exitcode


@pytest.mark.parametrize(
    "stage",
    [
        ("extract_activations", "supervised"),
        ("build_caption_index",),
        ("mine_crops", "simclr"),
        ("score_concepts", "simclr"),
        ("evaluate_units", "supervised"),
        ("transfer", "supervised_to_simclr"),
    ],
    ids=lambda stage: stage[0],
)
def test_a_killed_stage_goes_on_where_it_was(copy, noted, stage):
    name, *key = stage
    run = importlib.import_module(f"stages.{name}").run
    run(copy[1], *key)
    expected, steps = fingerprints(copy[0]), len(noted)
    assert steps > 2
    middle = steps // 2 + 1
    # The last step of a pass is saved twice; a stage that is killed after the second time saves it again.
    killed = middle - 1 if noted[middle - 1] == noted[middle - 2] else middle
    assert killed_at(killed, copy[1], stage) == -signal.SIGKILL
    for path in outputs((name, tuple(key))):  # as DVC does
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    noted.clear()
    run(copy[1], *key)
    assert len(noted) == steps - killed
    assert fingerprints(copy[0]) == expected
    assert not resume.FOLDER.exists()


def test_every_stage_gives_its_account(everything):
    for stage, summary in everything[3].items():
        assert isinstance(summary, StageSummary), stage
        assert sum(summary.wrote.values()) > 0, stage
        said = list(lines(" ".join(stage), summary))
        assert said[0].startswith(f"{' '.join(stage)}: ") and "wrote" in said[0]


def test_a_stage_that_drops_something_says_so_in_its_metrics(everything):
    folder, summaries = everything[0], everything[3]
    metrics = [json.loads(file.read_text()) for file in (folder / "reports/metrics").glob("*.json")]
    shares = [some["dropped_share"] for some in metrics if "dropped_share" in some]
    dropping = [summary for summary in summaries.values() if summary.dropped]
    assert len(shares) == len(dropping) - 1  # `claims` writes no metrics
    assert sum(some.get("dropped_more_than_1_percent", 0) for some in metrics) > 0


def test_dvc_watches_the_data_that_a_stage_opens_and_no_others(everything):
    content = everything[1].model_dump(mode="json")
    watched = {(stage.name, *stage.key): stage for stage in resolved_stages(content)}
    for name, files in everything[4].items():
        deps = [dep for dep in watched[name].deps if dep.parts[0] == "data"]
        inputs = {file for file in files if not below(file, watched[name].outs)}
        assert not {file for file in inputs if not below(file, deps)}, name
        unread = {dep for dep in deps if not any(below(file, [dep]) for file in inputs)}
        expected = [*UNREAD, *BY_OTHER_SETTINGS.get(name[0], [])]
        assert not {dep for dep in unread if not below(dep, expected)} or name in READING_NO_IMAGE, name


def below(file, places):
    return any(place in (file, *file.parents) for place in places)


@pytest.fixture(scope="module")
def reads(everything, tmp_path_factory):
    """What each stage reads of the params, in this run or under other settings."""
    folder, params, read, *_ = everything
    found = other_settings(folder, params, read, tmp_path_factory.mktemp("other"))
    return {stage: some for stage, some in found.items() if stage != BY_FILE}


@pytest.fixture(scope="module")
def content(everything):
    """The params as they are written, with a captioner."""
    written = read_yaml(everything[0] / "params.yaml")
    captioner = {"encoders": ["supervised", "simclr"], "pretrained": "checkpoint", "checkpoint": "coca.pt"}
    merge(
        written, {"generate_captions": captioner, "evaluate_human_captions": HUMAN_CAPTIONS, "alignments": ALIGNMENTS}
    )
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
    assert {leaf for leaf in unread if leaf[0] not in {"study", "verify", *WITHOUT_EFFECT}} == BY_DVC


def test_a_notebook_gives_the_concepts_and_crops_of_the_pipeline(run, monkeypatch):
    folder, params = run
    monkeypatch.chdir(folder)
    sections = {one.name: one.type for one in dataclasses.fields(falcon_dvc.Settings)}
    settings = {
        name: getattr(falcon_dvc, kind)(**getattr(params, name).model_dump(exclude={"encoders"}))
        for name, kind in sections.items()
    }
    probe = np.flatnonzero(read_table(paths.IMAGES)["split"] == "probe")
    found = falcon_dvc.explain(
        load_encoder(params.encoders["supervised"]),
        read_array(paths.SCENES / "images.npy")[probe],
        Path(params.data.captions).read_text(encoding="utf-8").split("\n")[:-1],
        load_image_text(params.image_text),
        settings=falcon_dvc.Settings(**settings),
    )
    # Whole images are embedded in other batches, which changes the last bits.
    expected = pd.DataFrame(read_table(paths.concepts("supervised") / "concepts.parquet"))
    pd.testing.assert_frame_equal(found.concepts, expected, rtol=1e-4, atol=1e-6)
    crops = pd.DataFrame(read_table(paths.crops("supervised") / "crops.parquet")).drop(columns="image")
    assert found.crops[crops.columns].equals(crops)
    assert np.array_equal(found.heatmaps, read_array(paths.crops("supervised") / "heatmaps.npy"))
