"""A checkpoint of the same model is the same bytes, whatever process writes it."""

import json

import torch
from safetensors import safe_open

from falcon_dvc.models.scenes.checkpoints import load_encoder_checkpoint, save_encoder
from falcon_dvc.models.scenes.small_resnet import SmallResNet


def header(path):
    content = path.read_bytes()
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def test_metadata_are_written_in_order(tmp_path):
    torch.manual_seed(0)
    model = SmallResNet(4, (8, 12), {"object": ["a", "é"]})
    # The library's own order is drawn anew for each file: by chance all of these would be in order once in thousands.
    for number in range(6):
        path = tmp_path / f"{number}.safetensors"
        save_encoder(path, model, {"name": "mine"})
        assert list(header(path)["__metadata__"]) == ["config", "format", "training"]
        assert path.read_bytes() == (tmp_path / "0.safetensors").read_bytes()


def test_what_is_put_in_order_is_read_as_before(tmp_path):
    torch.manual_seed(0)
    model = SmallResNet(4, (8, 12), {"object": ["a", "é"]}).half().float()
    save_encoder(tmp_path / "model.safetensors", model, {"name": "mine"})
    loaded = load_encoder_checkpoint(tmp_path / "model.safetensors")
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["training"]) == {"name": "mine"}
