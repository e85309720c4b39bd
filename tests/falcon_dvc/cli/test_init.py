"""`falcon init`: what it finds, the profile that it writes, and one line before any work for what does not fit."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from falcon_dvc.cli.recipe import found
from falcon_dvc.cli.recipe.settings import FEW_TO_HOLD_OUT, least_mentions_for
from falcon_dvc.cli.runs import prepare
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import load_params, read_yaml
from tests.support.command_lines import assert_one_line, falcon
from tests.support.dvc_params import missing_params
from tests.support.paths import ROOT

NETWORK = ("--encoder", "timm:test_resnet")
CHECKPOINT = ("--checkpoint", "weights/x.pth")
DATA = ("--images", "pictures", "--captions", "captions.txt", "--image-text", "conse")
PARAMS = """
encoders: {supervised: {}, simclr: {}}
transfers: {supervised_to_simclr: {}}
find_groups: {quantile: 0.925, min_images: 11, max_jaccard: 0.5}
"""
CATDOG = (*NETWORK, *CHECKPOINT, "--classes", "cat,dog")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A fine-tuned classifier with two outputs, and a file that must be unpickled."""
    import timm

    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(timm.create_model("test_resnet", num_classes=2).state_dict(), folder / "x.pth")
    torch.save({"code": exec}, folder / "pickled.pth")  # print may be another function: Ray replaces it
    torch.save({"other": torch.zeros(3)}, folder / "other.pth")
    return folder


@pytest.fixture
def project(tmp_path, weights):
    """A project with thirty pictures of two classes, captions and weights."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "weights").symlink_to(weights)
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(15):
            Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(tmp_path / f"pictures/{name}/{number}.png")
    (tmp_path / "captions.txt").write_text("".join(f"a cat with {number} dogs\n" for number in range(9)))
    return tmp_path


def init(folder, *options, name="mine"):
    return falcon(folder, "init", name, *options)


def profile_of(folder, name="mine"):
    return read_yaml(folder / "profiles" / f"{name}.yaml")


def test_a_classifier_with_folders_of_its_classes(project):
    result = init(project, *CATDOG, *DATA)
    assert result.returncode == 0, result.stderr
    for words in (
        "30 in pictures in class folders (cat, dog)",
        "9 in captions.txt",
        "timm:test_resnet: 96 features at layer4 (mean); ",
        "2 outputs (cat, dog); 30 of 30 images",
        "30 images are explained",
        "control     off: too few images to hold some out",
        "Wrote profiles/mine.yaml",
        "Next: make repro PROFILE=mine",
    ):
        assert words in result.stdout, result.stdout
    profile = profile_of(project)
    assert profile["encoders"]["mine"] == {
        "kind": "timm",
        "name": "test_resnet",
        "checkpoint": "../../weights/x.pth",
        "classes": ["cat", "dog"],
    }
    assert profile["encoders"]["supervised"] is None and profile["image_text"] == {"kind": "conse"}
    assert profile["failures"]["encoders"] == profile["evaluate_units"]["encoders"] == ["mine"]
    assert profile["data"]["images"] == "../../pictures" and profile["data"]["captions"] == "../../captions.txt"


def test_paths_are_those_of_the_folder_that_it_is_called_in(project):
    result = falcon(
        project / "pictures/cat", "init", "mine", *NETWORK, "--checkpoint", "../../weights/x.pth",
        "--images", "..", "--captions", str(project / "captions.txt"), "--image-text", "conse",
    )  # fmt: skip
    assert "Next: make repro PROFILE=mine   (in ../..)" in result.stdout, result.stderr
    profile = profile_of(project)
    assert profile["data"]["images"] == "../../pictures" and profile["data"]["captions"] == "../../captions.txt"
    assert profile["encoders"]["mine"]["checkpoint"] == "../../weights/x.pth"


def test_captions_are_found_as_the_stages_find_them(project):
    (project / "captions.txt").write_text("image,caption\n" + "".join(f'{n}.jpg,"a cat, {n} dogs"\n' for n in range(9)))
    result = init(project, *CATDOG, *DATA)
    assert "9 in captions.txt, read as table" in result.stdout and "caption_column" not in profile_of(project)["data"]
    (project / "captions.txt").write_text("nr\tbeschreibung\n" + "".join(f"{n}\tein Hund\n" for n in range(9)))
    assert_one_line(
        init(project, *CATDOG, *DATA, "--force"), "--captions", "set --caption-column to one of: nr, beschreibung"
    )
    result = init(project, *CATDOG, *DATA, "--force", "--caption-column", "beschreibung")
    assert "9 in captions.txt, read as table" in result.stdout, result.stderr
    assert profile_of(project)["data"]["caption_column"] == "beschreibung"


def test_of_few_captions_every_word_is_compared_with_the_images(project):
    assert init(project, *CATDOG, *DATA).returncode == 0
    assert profile_of(project)["caption_images"] == {"least_mentions": 1, "window": "off"}
    assert least_mentions_for(9_999) == 1 and least_mentions_for(10_000) == 4


def test_a_vocabulary_is_read_as_one(project):
    (project / "captions.txt").write_text("cat\ndog\nhot dog\ngrass\nnan\n")
    result = init(project, *CATDOG, *DATA, "--vocabulary")
    assert "5 in captions.txt, read as vocabulary\n" in result.stdout, result.stderr
    assert result.returncode == 0, result.stderr
    assert profile_of(project)["data"]["caption_format"] == "vocabulary"


def test_pairs_are_counted_and_named_in_the_profile(project):
    rows = [f"cat/{number}.png\ta cat\ncat/{number}.png\tan animal\n" for number in range(9)]
    (project / "pictures/pairs.tsv").write_text("image\tcaption\nnone.png\tnothing\n" + "".join(rows))
    result = init(project, *CATDOG, *DATA[:4], "--pairs", "pictures/pairs.tsv")
    assert "learned from 9 images with 18 captions of pictures/pairs.tsv" in result.stdout, result.stderr
    learned = profile_of(project)["alignments"]["mine"]
    assert (learned["pairs"], learned["images"]) == ("../../pictures/pairs.tsv", "../../pictures")
    (project / "pairs.tsv").write_text("image\tcaption\ncat/1.png\ta cat\n")
    assert_one_line(
        init(project, *CATDOG, *DATA[:4], "--pairs", "pairs.tsv", name="other"), "--pairs pairs.tsv", "cat/1.png"
    )


def test_paths_outside_of_the_project_are_absolute(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "captions.txt"
    elsewhere.write_text((project / "captions.txt").read_text())
    assert init(project, *CATDOG, *DATA[:2], "--captions", str(elsewhere), *DATA[4:]).returncode == 0
    assert profile_of(project)["data"]["captions"] == str(elsewhere)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--weights", "random"), ["off: the weights are random"]),
        (
            (*CHECKPOINT, "--classes", "x,y"),
            ["off: no folder of the images names a class (x, y)", "the folders are cat, dog"],
        ),
        (CHECKPOINT, ["off: the names of the classifier's 2 outputs are not known; give them with --classes"]),
        ((*CHECKPOINT, "--layer", "layer3"), ["off: the classifier is not a linear layer on the features at layer3"]),
        (
            (*CHECKPOINT, "--features", "random:5"),
            ["96 features", "of which 5 are explained", "at most 130 crops"],
        ),
    ],
)
def test_what_does_not_apply_is_off_and_says_why(project, options, words):
    result = init(project, *NETWORK, *options, *DATA)
    assert all(word in result.stdout for word in words), result.stdout + result.stderr
    assert profile_of(project)["failures"] == {"encoders": []} and profile_of(project)["data"]["heldout"] == 0.0


@pytest.mark.parametrize(
    ("shape", "classes", "words"),
    [
        ((2, 48), "cat,dog", ["2 outputs (cat, dog); 30 of 30 images"]),
        ((2, 48), "cat,dog,cow", ["--classes", "2 different names"]),
        ((2, 96), "cat,dog", ["--head: reads 96 features, but the encoder has 48"]),
    ],
)
def test_a_head_of_its_own_has_to_fit(project, shape, classes, words):
    save_file({"weight": np.ones(shape, np.float32), "bias": np.ones(shape[0], np.float32)}, project / "h.safetensors")
    options = (*NETWORK, *CHECKPOINT, "--layer", "layer2", "--head", "h.safetensors", "--classes", classes)
    result = init(project, *options, *DATA)
    assert all(word in result.stdout + result.stderr for word in words), result.stdout + result.stderr
    if not result.returncode:
        assert profile_of(project)["encoders"]["mine"]["head"] == "../../h.safetensors"


def test_released_weights_are_not_downloaded(project, monkeypatch):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *args, **options: pytest.fail("downloads"))
    result = init(project, *NETWORK, "--weights", "r160_in1k", *DATA)
    assert "off: no folder of the images names a class (n01440764" in result.stdout, result.stdout + result.stderr
    assert profile_of(project)["encoders"]["mine"] == {
        "kind": "timm",
        "name": "test_resnet.r160_in1k",
        "weights": "pretrained",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--encoder", "timm:test_resnett", *CHECKPOINT), ["--encoder", "'test_resnett'", "test_resnet"]),
        (
            ("--encoder", "torchvision:resnet18", "--weights", "IMAGENET1K"),
            ["weights of resnet18 'IMAGENET1K'", "IMAGENET1K_V1"],
        ),
        ((*NETWORK, "--weights", "r160_in1"), ["tag 'r160_in1'", "test_resnet.r160_in1k"]),
        ((*NETWORK, *CHECKPOINT, "--layer", "layer5"), ["--layer", "'layer5'", "layer4"]),
        ((*NETWORK, *CHECKPOINT, "--pooling", "sum"), ["--pooling", "'mean'"]),
        (
            (*NETWORK, "--checkpoint", "none.pth"),
            ["--checkpoint: none.pth: not found", "give the path of an existing file"],
        ),
        ((*NETWORK, "--checkpoint", "weights/pickled.pth"), ["pickled.pth", "could run code"]),
        ((*NETWORK, "--checkpoint", "weights/other.pth"), ["other.pth", "holds 0 of"]),
        (
            (*NETWORK, "--weights", "random", "--classes", "cat,dog"),
            ["--classes: the weights are random", "leave it out"],
        ),
        ((*NETWORK, *CHECKPOINT, "--classes", "cat,dog,cow"), ["--classes", "2 different names"]),
        (
            (*NETWORK, *CHECKPOINT, "--classes", "cat,dog", "--layer", "layer3"),
            ["--classes", "not a linear layer", "leave it out"],
        ),
        ((*NETWORK, *CHECKPOINT, "--features", "3,96"), ["--features", "no feature 96", "0 to 95"]),
        ((*NETWORK, *CHECKPOINT, "--features", "3,3"), ["--features", "twice"]),
        ((*NETWORK, *CHECKPOINT, "--features", "random:97"), ["--features random:97", "has 96 features"]),
        ((*CATDOG, "--image-text", "open_clip:ViT-B-3/openai"), ["--image-text", "'ViT-B-3'", "ViT-B-32"]),
        ((*CATDOG, "--image-text", "open_clip:ViT-B-32/openia"), ["--image-text", "'openia'", "openai"]),
        (
            (*CATDOG, "--image-text", "open_clip:RN50", "--image-text-checkpoint", "none.pt"),
            ["--image-text-checkpoint none.pt", "no such file"],
        ),
        ((*NETWORK, *CHECKPOINT, "--basis", "w.npy"), ["--basis w.npy: no such file", "pca:64"]),
        ((*NETWORK, *CHECKPOINT, "--basis", "pca:97"), ["--basis 97", "has 96 channels"]),
        ((*NETWORK, *CHECKPOINT, "--basis", "nmf:9", "--classes", "cat,dog"), ["--classes", "leave it out"]),
        ((*NETWORK, *CHECKPOINT, "--both-signs"), ["--both-signs", "--basis"]),
        ((*CATDOG, "--images", "nowhere"), ["--images", "nowhere", "no folder"]),
        ((*CATDOG, "--images", "weights"), ["--images", "no images under weights"]),
        ((*CATDOG, "--images", "pictures/cat"), ["--images: 15 readable images", "at least 25"]),
        ((*CATDOG, "--captions", "nowhere.txt"), ["--captions", "nowhere.txt"]),
        ((*CATDOG, "--captions", "weights/x.pth"), ["--captions", "x.pth"]),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(project, options, words):
    given = [*DATA]
    for option in ("--images", "--captions", "--image-text"):
        if option in options:
            del given[given.index(option) : given.index(option) + 2]
    assert_one_line(init(project, *options, *given), *words)
    assert not list((project / "profiles").iterdir())


def test_too_few_captions_and_pictures_that_are_none(project):
    (project / "captions.txt").write_text("a cat\n\nnan\n")
    assert_one_line(init(project, *CATDOG, *DATA), "--captions captions.txt", "holds 1 captions", "5 or more")
    Image.effect_noise((64, 64), 99).save(project / "captions.jpg")
    wrong = ("--images", "pictures", "--captions", "captions.jpg")
    assert_one_line(init(project, *CATDOG, *wrong, *DATA[4:]), "--captions captions.jpg", "no text in UTF-8")
    (project / "false").mkdir()
    (project / "false/1.png").write_text("no picture")
    assert_one_line(init(project, *CATDOG, "--images", "false", *DATA[2:]), "--images: none of the 1 images", "1.png")


@pytest.mark.parametrize(
    ("name", "words"), [("My-Run", ["NAME My-Run", "lower-case"]), ("simclr", ["NAME simclr", "another name"])]
)
def test_names_that_a_profile_cannot_have(project, name, words):
    assert_one_line(init(project, *CATDOG, *DATA, name=name), *words)


def test_a_basis_replaces_the_channels_of_the_encoder_and_of_its_control(with_many):
    np.save(with_many / "w.npy", np.eye(7, 96, dtype=np.float32))
    result = init(with_many, *NETWORK, *CHECKPOINT, *DATA, "--basis", "w.npy", "--both-signs")
    assert "basis       14 features of 96 channels, read as directions; each has two sides" in result.stdout, (
        result.stderr
    )
    assert "classifier  off: the network's classifier reads the channels" in result.stdout
    params = load_params(prepare("mine") / "params.yaml")
    encoder, control = params.encoders["mine"].basis, params.encoders["mine_untrained"].basis
    assert encoder == control and encoder.directions == "../../w.npy" and encoder.both_signs and encoder.digest


def test_an_existing_profile_is_replaced_only_if_that_is_meant(project):
    (project / "profiles/mine.yaml").write_text("worlds: []\n")
    assert_one_line(init(project, *CATDOG, *DATA), "profiles/mine.yaml: exists", "--force")
    assert (project / "profiles/mine.yaml").read_text() == "worlds: []\n"
    assert init(project, *CATDOG, *DATA, "--force").returncode == 0
    assert "mine" in profile_of(project)["encoders"]


def test_help_lists_it_under_other_runs(project):
    text = falcon(project, "--help").stdout
    assert text.index("Other runs") < text.index(" init ") < text.index(" profile ")


@pytest.mark.parametrize(
    ("line", "packages"),
    [
        ("image_text: {kind: conse}", "requirements-photos.txt"),
        ("    kind: efficientnet_lite", "requirements-photos.txt"),
        ("image_text: {kind: open_clip}   # not kind: conse", "requirements.txt"),
    ],
)
def test_make_installs_the_packages_of_the_profile(project, line, packages):
    (project / "profiles/mine.yaml").write_text(line)
    command = ["make", "-pn", "-f", str(ROOT / "Makefile"), "-C", str(project), "PROFILE=mine"]
    database = subprocess.run(command, capture_output=True, text=True).stdout
    assert f"\nREQUIREMENTS := {packages}\n" in database


def test_it_works_in_a_project_only(tmp_path):
    assert_one_line(init(tmp_path, *CATDOG, *DATA), "not in the project", "params.yaml")


def test_unreadable_images_are_counted_and_many_are_sampled(project, monkeypatch):
    (project / "pictures/cat/broken.png").write_text("no picture")
    assert "30 in pictures" in init(project, *CATDOG, *DATA).stdout
    monkeypatch.setattr(found, "DECODED", 7)
    assert "; 7 of them were decoded" in init(project, *CATDOG, *DATA, "--force").stdout


@pytest.fixture
def real_params(project, monkeypatch):
    """The project with the whole params.yaml, as the current folder."""
    monkeypatch.chdir(project)
    (project / ".dvcignore").touch()
    (project / "dvc.yaml").symlink_to(ROOT / "dvc.yaml")
    (project / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return project


def test_the_run_has_valid_params(real_params):
    assert init(real_params, *CATDOG, *DATA, "--features", "3,17").returncode == 0
    folder = prepare("mine")
    params = load_params(folder / "params.yaml")
    assert not missing_params(folder.resolve()), "null in a profile removes a param that dvc.yaml lists"
    assert list(params.encoders) == ["mine"] and params.failures.encoders == ("mine",)


@pytest.fixture
def with_many(real_params):
    """The project with as many pictures as some can be held out."""
    for number in range(15, FEW_TO_HOLD_OUT):
        Image.new("L", (4, 4), number).save(real_params / f"pictures/cat/{number}.png")
    return real_params


def test_a_control_with_random_weights_comes_with_the_encoder(with_many):
    result = init(with_many, *NETWORK, *CHECKPOINT, "--layer", "layer2", *DATA)
    assert "control     mine_untrained: 48 features of the same network with random weights" in result.stdout, (
        result.stderr
    )
    assert "--no-control leaves it out" in result.stdout
    params = load_params(prepare("mine") / "params.yaml")
    control, encoder = params.encoders["mine_untrained"], params.encoders["mine"]
    assert list(params.encoders) == ["mine", "mine_untrained"] and control.control_of == ("mine",)
    assert (control.weights, control.layer, control.classes) == ("random", encoder.layer, None)
    assert params.data.heldout == 0.33 and params.measure_faithfulness.reference_encoders == 2
    assert Path("runs/mine/pins/encoders.mine_untrained.txt").read_text().splitlines()[2] == "random, seed 1"


def test_without_a_control_the_run_says_what_is_missing(with_many):
    result = init(with_many, *NETWORK, *CHECKPOINT, "--no-control", *DATA)
    assert (
        "control     off: --no-control, so explanations are measured, but no feature has the verdict" in result.stdout
    )
    params = load_params(prepare("mine") / "params.yaml")
    assert list(params.encoders) == ["mine"] and params.measure_faithfulness.reference_encoders == 0
    assert "# no control: --no-control" in Path("profiles/mine.yaml").read_text()


def test_the_run_of_a_profile_needs_no_images_and_captions(real_params):
    profile = {
        "worlds": [],
        "data": {"source": "images", "images": "../../pictures", "captions": "../../captions.txt"},
        "image_text": {"kind": "open_clip", "name": "RN50", "pretrained": "openai"},
    }
    (real_params / "profiles/mine.yaml").write_text(str(profile))
    folder = prepare("mine")
    assert read_yaml(folder / "params.yaml")["data"]["images"] == "../../pictures"
    (real_params / "captions.txt").unlink()
    with pytest.raises(
        UserError, match=r"profiles/mine.yaml: data.captions: \.\./\.\./captions.txt leads to captions.txt"
    ):
        prepare("mine")
