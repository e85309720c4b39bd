"""How the networks and image-text encoders of a notebook are read."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms._presets import ImageClassification

import falcon_dvc
from falcon_dvc.api.captions import image_text_of
from falcon_dvc.errors import UserError
from tests.support.coloured_squares import SIDE, SeesColours, pictures


def as_tensor(image):
    return torch.from_numpy(np.array(image.resize((SIDE, SIDE)))).permute(2, 0, 1) / 255


def test_the_preprocessing_of_torchvision_says_what_the_network_sees():
    encoder = falcon_dvc.network(SeesColours(), ImageClassification(crop_size=24, resize_size=32, mean=(0.5,) * 3))
    assert encoder.field(100, 80) == (20, 10, 80, 70)
    assert encoder.description["size"] == 24 and encoder.description["mean"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("options", "field"),
    [({}, (0, 0, 100, 80)), ({"crop": 0.5}, (30, 20, 70, 60)), ({"squash": True, "crop": 0.5}, (25, 20, 75, 60))],
)
def test_ones_own_preprocessing_sees_the_whole_image_unless_it_is_said_otherwise(options, field):
    encoder = falcon_dvc.network(SeesColours(), as_tensor, **options)
    assert encoder.field(100, 80) == field
    assert encoder.prepare(pictures(2)).shape == (2, 3, SIDE, SIDE)


def test_values_of_the_call_replace_those_of_the_module():
    assert falcon_dvc.network(SeesColours(), size=16, mean=[0, 0, 0]).description["size"] == 16
    with pytest.raises(UserError, match="network: the network of Conv2d has no attribute `preprocess`; give mean, std"):
        falcon_dvc.network(nn.Conv2d(3, 4, 1), size=16)


def test_several_layers_are_read_side_by_side():
    one, both = (falcon_dvc.network(SeesColours(), layer=layer) for layer in ("fires", ["colour", "fires"]))
    assert (one.width, both.width) == (4, 8)
    with pytest.raises(UserError, match=r"network\.layer: the network has no layer 'fire'"):
        falcon_dvc.network(SeesColours(), layer="fire")


class Towers(nn.Module):
    """Stands for a model of open_clip."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def encode_image(self, batch, normalize):
        return self.scale * batch.mean(dim=(2, 3))

    def encode_text(self, tokens, normalize):
        return self.scale * tokens


def test_the_three_parts_of_open_clip_give_unit_rows():
    towers = image_text_of((Towers(), as_tensor, lambda texts: torch.tensor([[len(text), 1.0, 0] for text in texts])))
    images, texts = towers.embed_images(pictures(3)), towers.embed_texts(["a", "bb"])
    assert images.shape == (3, 3) and images.argmax(axis=1).tolist() == [0, 1, 2]
    assert np.allclose(np.linalg.norm(images, axis=1), 1) and texts[1] == pytest.approx([0.8944, 0.4472, 0], abs=1e-4)


def test_unit_rows_of_an_image_text_encoder_are_not_changed():
    rows = np.float32([[0.6, 0.8]])
    towers = image_text_of(SimpleNamespace(embed_images=lambda _: rows, embed_texts=lambda _: torch.tensor(3 * rows)))
    assert towers.embed_images([None]) is rows and np.allclose(towers.embed_texts(["a"]), rows)
