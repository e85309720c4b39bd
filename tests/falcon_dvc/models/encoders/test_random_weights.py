"""Copies with random weights: all parameters are drawn again, by seed, and what cannot be drawn is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.random_weights import drawn_again, noise_pictures, random_copy, set_running_statistics
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


def deep(blocks: int) -> nn.Sequential:
    """A network whose values shrink to half in each block, unless batch normalisations undo it."""
    layers: list[nn.Module] = []
    for number in range(blocks):
        layers += [nn.Conv2d(3 if number == 0 else 4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
    network = nn.Sequential(*layers)
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.05)
            nn.init.zeros_(layer.bias)
    return network.eval()


def prepared_noise() -> torch.Tensor:
    return torch.from_numpy(np.stack(noise_pictures())[:, ::8, ::8]).permute(0, 3, 1, 2) / 64.0 - 2.0


def test_running_statistics_keep_the_scale_of_deep_networks():
    with torch.no_grad():
        network, noise = deep(20), prepared_noise()
        nn.init.zeros_(network[-2].weight)
        before = network(noise)
        set_running_statistics(network, noise)
        after = network(noise)
    assert before.abs().max() == 0
    assert 0.1 < after.std() < 2
    assert not network.training and all(layer.momentum == 0.1 for layer in network if isinstance(layer, nn.BatchNorm2d))


def test_a_network_without_batch_normalisation_is_left_alone():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    network.forward = lambda batch: pytest.fail("a pass for nothing")
    set_running_statistics(network, torch.zeros(1))


def test_noise_has_the_spectrum_of_natural_images():
    """Neighbours are alike, distant pixels are not, and all pictures differ."""
    pictures = np.stack(noise_pictures()).astype(float)
    near, far = (np.corrcoef(pictures[:, :, step:].ravel(), pictures[:, :, :-step].ravel())[0, 1] for step in (1, 100))
    assert near > 0.7 and far < 0.4
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    assert np.array_equal(pictures, np.stack(noise_pictures()))
