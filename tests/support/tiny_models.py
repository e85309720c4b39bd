"""Models of open_clip that are small enough to build in a test."""

import json
from pathlib import Path

import numpy as np

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}


TINY_COCA = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8,
        "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1, "embed_cls": True, "output_tokens": True,
    },
    "multimodal_cfg": {
        "context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1, "attn_pooler_heads": 2,
    },
    "custom_text": True,
}  # fmt: skip


def known(folder: Path, name: str, config: dict) -> str:
    """Let open_clip know a model; return its name."""
    import open_clip

    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{name}.json")
    return name


def pictures(count: int) -> list[np.ndarray]:
    """Random blocks of colours in different sizes."""
    rng = np.random.default_rng(0)
    blocks = [rng.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in range(count)]
    return [np.kron(block, np.ones((5 + place % 5, 9, 1), dtype=np.uint8)) for place, block in enumerate(blocks)]
