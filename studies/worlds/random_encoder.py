"""Add a control: an encoder of the same architecture with random weights."""

from pathlib import Path

from falcon_dvc.params.load import validated
from falcon_dvc.params.schema import Params

NAME = "untrained"


def add_random_encoder(params: Params, seed: int) -> Params:
    """Save an untrained encoder next to the trained ones, and add it to the encoders to explain."""
    import torch

    from falcon_dvc.models.scenes.checkpoints import save_encoder
    from falcon_dvc.models.scenes.small_resnet import SmallResNet

    section = next(iter(params.train.values()))
    torch.manual_seed(seed)
    path = Path("models") / f"{NAME}.safetensors"
    save_encoder(path, SmallResNet(section.stem, section.widths, {}), {"name": NAME, "objective": "none"})
    content = params.model_dump(mode="python")
    content["encoders"] |= {NAME: {"kind": "scenes", "checkpoint": str(path)}}
    return validated(content)
