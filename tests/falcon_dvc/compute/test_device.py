"""The precision that a device computes in."""

import torch

from falcon_dvc.compute.device import computing_in


def test_float32_is_left_as_it_is():
    with computing_in("float32", "cpu"):
        assert not torch.is_autocast_enabled("cpu")
