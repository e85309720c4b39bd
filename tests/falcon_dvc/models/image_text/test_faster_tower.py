"""The faster image tower computes what open_clip's does."""

import copy

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import nn

from falcon_dvc.models.image_text.faster_tower import OneQueryPool, faster
from falcon_dvc.models.scenes.checkpoints import load_clip
from tests.support.paths import ROOT


@pytest.mark.parametrize(("cells", "channels", "heads", "dim"), [(1, 8, 2, 4), (4, 24, 3, 8), (7, 32, 4, 32)])
def test_pool_is_that_of_open_clip(cells, channels, heads, dim):
    torch.manual_seed(cells)
    pool = AttentionPool2d(cells, channels, heads, dim)
    for parameter in pool.parameters():
        nn.init.normal_(parameter)
    maps = torch.randn(5, channels, cells, cells)
    with torch.inference_mode():
        torch.testing.assert_close(OneQueryPool(pool)(maps), pool(maps), rtol=1e-4, atol=1e-4)


def test_tower_is_that_of_the_checkpoint_without_batch_norms():
    model, _ = load_clip(ROOT / "models/clip.safetensors")
    quick = faster(copy.deepcopy(model.visual))
    images = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(quick(images), model.visual(images), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in quick.modules())
