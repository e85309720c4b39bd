"""Caption every crop with an image captioner: a corpus made for these crops, for `data.captions` to name (in place of step 8's)."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.artifacts import read_table, write_json, write_text
from stages.sources.captions import clean_caption

if TYPE_CHECKING:
    from stages.common.params import Params


def run(params: Params, name: str) -> None:
    """Write the captions of the crops of the encoder `name`: line i is about row i of its ``crops.parquet``; and counts."""
    crops = read_table(files.crops(name) / "crops.parquet")
    generated, which = _generated(params, crops)
    captions = np.array([clean_caption(text) for text in generated], dtype=object)[which]
    write_text(files.generated(name), "".join(f"{caption}\n" for caption in captions))
    write_json(files.metrics(f"generated_{name}"), _counts(captions, which))


def _generated(params: Params, crops: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """A text for each different crop, and each row's place among them."""
    from stages.models.captioner import load_captioner
    from stages.models.crop_embedding import of_different_crops
    from stages.models.device import best_device
    from stages.sources.image_sources import open_images

    settings, images = params.generate_captions, read_table(files.IMAGES)
    captioner = load_captioner(settings, best_device())
    rows = pd.Index(images["image"]).get_indexer(crops["image"])
    boxes = crops[["left", "top", "right", "bottom"]].to_numpy()
    source = open_images(params.data, images)
    texts, which = of_different_crops(captioner.captions, "captioning crops", source, rows, boxes, settings.batch_size)
    return list(chain.from_iterable(texts)), which


def _counts(captions: np.ndarray, which: np.ndarray) -> dict[str, int]:
    """Rows, different crops among them, rows with a caption, different captions, rows without one."""
    empty = int((captions == "").sum())
    return {
        "crops": len(captions),
        "different_crops": len(np.unique(which)),
        "captions": len(captions) - empty,
        "different": len(set(captions) - {""}),
        "empty": empty,
    }
