"""Tensors that a checkpoint lacks: which of them the features depend on."""

import pytest
import torch
from torch import nn

from falcon_dvc.models.encoders.missing import read_by

NETWORK = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Linear(2, 2)).eval()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], []),
        (["0.weight"], ["0.weight"]),
        (["3.bias", "1.running_var", "4.weight"], ["3.bias", "1.running_var"]),
        (["4.weight", "4.bias"], []),
        (["1.num_batches_tracked"], []),
    ],
)
def test_only_tensors_before_the_features_are_named(names, expected):
    before = {name: tensor.clone() for name, tensor in NETWORK.state_dict().items()}
    assert read_by(NETWORK, names, lambda: NETWORK[:4](torch.ones(1, 3, 8, 8))) == expected
    assert all(torch.equal(tensor, before[name]) for name, tensor in NETWORK.state_dict().items())
