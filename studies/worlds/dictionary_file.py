"""Write a dictionary of directions as SAELens saves a sparse autoencoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors.numpy import save

from falcon_dvc.artifacts.formats import write_bytes, write_text


def write_topk(
    folder: Path,
    directions: Float[np.ndarray, "latents channels"],
    vectors: Float[np.ndarray, "positions channels"],
    active: int,
) -> None:
    """Write a TopK autoencoder whose latents are the activations along directions, each scaled to variance 1.

    Parameters
    ----------
    vectors
        Activations that set the bias (their mean) and the scales.
    active
        Latents that stay at each position.
    """
    mean = vectors.mean(axis=0)
    encoder = (directions / ((vectors - mean) @ directions.T).std(axis=0)[:, None]).T
    weights = {"W_enc": encoder, "b_enc": np.zeros(len(directions)), "W_dec": np.linalg.pinv(encoder), "b_dec": mean}
    arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in weights.items()}
    config = {
        "architecture": "topk", "k": active, "d_in": directions.shape[1], "d_sae": len(directions),
        "apply_b_dec_to_input": True, "normalize_activations": "none",
    }  # fmt: skip
    write_bytes(folder / "sae_weights.safetensors", save(arrays))
    write_text(folder / "cfg.json", json.dumps(config))
