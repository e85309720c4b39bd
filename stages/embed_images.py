"""Embed every whole image once, and windows of it.

With `mine_crops.embed: maps`, the maps from which the crops of all encoders are embedded are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_array, write_json
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.resume import Resumable, resumable

if TYPE_CHECKING:
    from falcon_dvc.models.image_text.base import ImageTextEncoder
    from falcon_dvc.params.schema import Params


def run(params: Params) -> StageSummary:
    """Write ``embeddings.npy``, with a row for each row of ``data/images.parquet``, and the maps, if params ask for them.

    ``data/image_windows.npy`` holds the windows of each image, in the order of the images; no row with `caption_images.window` off.
    ``centre.npy`` is the mean of the probe images: its cosine with a caption is the mean cosine of the caption over these
    images, which `concepts.hub_correction` subtracts. ``embeddings.json`` names the image-text encoder.
    """
    from falcon_dvc.compute.device import best_device
    from falcon_dvc.crops.embedding import embed_images
    from falcon_dvc.models.image_text.load import load_image_text

    images, folder = read_table(paths.IMAGES), paths.IMAGE_EMBEDDINGS
    encoder = load_image_text(params.image_text, best_device(params.device))
    with resumable("embed_images") as work:
        embeddings = embed_images(params, encoder, images, work, folder)
        write_array(folder / "embeddings.npy", embeddings)
        write_array(folder / "centre.npy", embeddings[images["split"] == "probe"].mean(axis=0))
        made_by = {"image_text": encoder.fingerprint, "preprocessing": encoder.preprocessing}
        write_json(folder / "embeddings.json", made_by)
        write_array(paths.IMAGE_WINDOWS, _windows(params, encoder, images, work, embeddings.shape[1]))
    return StageSummary(read={"images": len(images)}, wrote={f"embedded images to {folder}": len(images)})


def _windows(params: Params, encoder: ImageTextEncoder, images: pd.DataFrame, work: Resumable, dim: int) -> np.ndarray:
    """Embed the windows of each image."""
    from falcon_dvc.crops.embedding import embeddings_of_crops
    from falcon_dvc.crops.windows import WINDOWS, corner_windows

    if params.caption_images.window == "off":
        return np.zeros((0, dim), dtype=np.float32)
    boxes = corner_windows(images["width"].to_numpy(), images["height"].to_numpy(), params.caption_images.window)
    rows = np.repeat(np.arange(len(images)), WINDOWS)
    return embeddings_of_crops(params, encoder, rows, boxes, work, "windows")
