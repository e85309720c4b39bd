"""Property tests draw the same examples on every machine, and no deadline stops them on a noisy one."""

import json

import pytest
from hypothesis import settings

from tests.support.tiny_models import TINY_COCA

settings.register_profile("project", deadline=None, derandomize=True, database=None, max_examples=30)
settings.load_profile("project")


@pytest.fixture(scope="session")
def coca(tmp_path_factory):
    """A tiny random CoCa whose texts depend on the picture; give its file of weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("coca")
    (folder / "coca_tiny.json").write_text(json.dumps(TINY_COCA))
    open_clip.add_model_config(folder / "coca_tiny.json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model("coca_tiny")
        for name, weights in model.named_parameters():
            if weights.ndim > 1:
                # As initialised, every picture would get the same text.
                torch.nn.init.normal_(weights, std=1.0 if "cross_attn" in name or "visual" in name else 0.5)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "coca.safetensors")
    return str(folder / "coca.safetensors")
