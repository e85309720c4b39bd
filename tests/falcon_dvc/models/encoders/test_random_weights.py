"""Copies with random weights: all parameters are drawn again, by seed, and what cannot be drawn is refused."""

import pytest
import torch
from torch import nn

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.random_weights import drawn_again, random_copy
from falcon_dvc.models.scenes.small_resnet import SmallResNet
from falcon_dvc.params.schema import TimmEncoder


def trained() -> nn.Module:
    network = SmallResNet(4, [4, 8], {})
    for parameter in network.parameters():
        nn.init.constant_(parameter, 7.0)
    network.stem[1].running_mean.fill_(3.0)
    return network


def test_all_parameters_and_running_statistics_are_drawn_again():
    network = drawn_again(trained(), seed=1)
    assert not any((parameter == 7.0).all() for parameter in network.parameters())
    assert not network.stem[1].running_mean.any()


def test_the_seed_decides_and_the_generator_is_left_alone():
    networks, before = [trained() for _ in range(3)], torch.random.get_rng_state()
    first, again, other = (
        drawn_again(network, seed).state_dict() for network, seed in zip(networks, (1, 1, 2), strict=True)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])


def test_attention_can_be_drawn():
    drawn = drawn_again(nn.MultiheadAttention(8, 2), seed=0)
    assert drawn.in_proj_weight.abs().max() > 0


def test_a_parameter_that_no_layer_draws_is_refused():
    network = nn.Sequential(nn.Linear(2, 2))
    network.scale = nn.Parameter(torch.ones(1))
    with pytest.raises(
        UserError, match=r"encoders\.mine: no copy with random weights can be made, as scale belongs to no"
    ):
        drawn_again(network, 0, "encoders.mine")


def test_the_copy_of_an_entry_has_random_weights_and_no_head():
    spec = TimmEncoder(kind="timm", name="test_resnet", checkpoint="net.pth", head="h.npz", classes=("cat", "dog"))
    copy = random_copy(spec, 5)
    assert (copy.weights, copy.seed, copy.head, copy.classes, copy.name) == ("random", 5, None, None, "test_resnet")
