"""Files and names of params.yaml are checked before any stage runs."""

import pytest

from falcon_dvc.errors import UserError
from falcon_dvc.params.inputs import check_inputs, unread_checkpoints
from tests.support.stage_params import params_of

OWN = {"worlds": [], "train": {"supervised": None, "simclr": None}}
NO_CONTROL = {"untrained_1": None, "untrained_2": None}
ALONE = {"transfers": {"supervised_to_simclr": None, "simclr_to_supervised": None}}  # for one encoder


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with images, captions and weights of the user."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for name in ("captions.txt", "clip.safetensors", "net.pth", "pictures/list.csv"):
        (tmp_path / name).touch()
    return tmp_path


def own(**changes):
    weights = {"encoders": {"supervised": {"checkpoint": "net.pth"}, "simclr": {"checkpoint": "net.pth"}} | NO_CONTROL}
    data = {"source": "list", "images": "pictures", "captions": "captions.txt", "list": "list.csv"}
    return params_of({**OWN, **weights, "data": data, "image_text": {"checkpoint": "clip.safetensors"}, **changes})


def test_files_that_stages_write_need_not_exist():
    assert check_inputs(params_of({})) == 0
    assert check_inputs(params_of({"data": {"captions": "data/generated"}})) == 0


def test_all_files_of_the_user_are_looked_for():
    assert check_inputs(own()) == 6


@pytest.mark.parametrize(
    ("missing", "param"),
    [
        ("captions.txt", "data.captions"),
        ("pictures/list.csv", "data.list"),
        ("clip.safetensors", "image_text.checkpoint"),
        ("net.pth", "encoders.supervised.checkpoint"),
    ],
)
def test_a_missing_file_is_named_with_its_param(folder, missing, param):
    (folder / missing).unlink()
    with pytest.raises(UserError, match=f"^params.yaml: {param}: {missing}: not found; give the path"):
        check_inputs(own())


def test_the_file_of_a_control_is_looked_for():
    control = {"kind": "scenes", "checkpoint": "gone.safetensors", "weights": "random", "control_of": ["supervised"]}
    encoders = {"supervised": {"checkpoint": "net.pth"}, "simclr": None, **NO_CONTROL, "mine": control}
    with pytest.raises(UserError, match=r"encoders\.mine\.checkpoint: gone.safetensors: not found"):
        check_inputs(own(encoders=encoders, **ALONE))


def test_the_classifier_inside_an_image_text_encoder_is_looked_for():
    inner = {"kind": "torchvision", "name": "resnet50", "checkpoint": "gone.pth"}
    image_text = {"kind": "conse", "checkpoint": "net.pth", "classifier": inner}
    with pytest.raises(UserError, match=r"image_text.classifier.checkpoint: gone.pth"):
        check_inputs(own(image_text=image_text))


def test_a_captioner_is_looked_for_if_it_runs():
    captioner = {"checkpoint": "gone.txt", "pretrained": "checkpoint"}
    assert check_inputs(own(generate_captions=captioner)) == 6
    with pytest.raises(UserError, match=r"generate_captions.checkpoint: gone.txt"):
        check_inputs(own(generate_captions=captioner | {"encoders": ["simclr"]}))


def test_a_folder_that_a_name_holds_must_exist():
    with pytest.raises(UserError, match=r"image_text\.name: gone: not found"):
        check_inputs(own(image_text={"kind": "open_clip", "name": "local-dir:gone"}))


def test_a_plant_with_an_unknown_name_is_refused():
    plant = {"shortcut": {"lookalike": "zebra"}}
    with pytest.raises(UserError, match=r"render_scenes.shortcut.lookalike is 'zebra', must be one of"):
        check_inputs(params_of({"render_scenes": plant}))
    assert check_inputs(own(render_scenes=plant)) == 6


def test_a_checkpoint_that_nothing_loads_is_named():
    network = {"kind": "timm", "name": "test_resnet", "checkpoint": "net.pth"}
    encoders = {"supervised": {**network, "weights": "random"}, "simclr": network} | NO_CONTROL
    tower = {"kind": "open_clip", "name": "RN50", "pretrained": "openai", "checkpoint": "clip.safetensors"}
    assert unread_checkpoints(own(encoders=encoders, image_text=tower)) == [
        "image_text.checkpoint: clip.safetensors is not loaded, as the weights come from pretrained: openai; DVC only watches it",
        "encoders.supervised.checkpoint: net.pth is not loaded, as the weights come from weights: random; DVC only watches it",
    ]


def test_the_file_of_a_basis_is_looked_for():
    encoders = {"supervised": {"checkpoint": "net.pth", "basis": {"sae": "gone.pt"}}, "simclr": None, **NO_CONTROL}
    with pytest.raises(UserError, match=r"encoders\.supervised\.basis\.sae: gone\.pt: not found"):
        check_inputs(own(encoders=encoders, **ALONE))
