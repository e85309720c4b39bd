"""Caption every crop with an image captioner; `data.captions` may name these captions as the corpus of step 8."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_json, write_text
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.captions.corpus_file import clean_caption

if TYPE_CHECKING:
    from falcon_dvc.compute.resume import Checkpoint
    from falcon_dvc.params.schema import GenerateCaptions, Params


def run(params: Params, name: str) -> StageSummary:
    """Write the captions of the crops of the encoder `name`, and counts.

    Line i describes row i of its ``crops.parquet``.
    """
    crops = read_table(paths.crops(name) / "crops.parquet")
    generated, which = _generated(params, name, crops)
    captions = np.array([clean_caption(text) for text in generated], dtype=object)[which]
    write_text(paths.generated(name), "".join(f"{caption}\n" for caption in captions))
    counts = _counts(captions, which)
    summary = StageSummary(
        read={"crops": len(captions)},
        dropped={"crops": {"without a caption": counts["empty"]}},
        wrote={f"lines to {paths.generated(name)}": len(captions)},
    )
    write_json(paths.metrics(f"generated_{name}"), {**counts, **summary.metrics})
    return summary


def _generated(params: Params, name: str, crops: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Generate a text for each different crop, and return the place of each row among them."""
    from falcon_dvc.compute.resume import resumable
    from falcon_dvc.crops.embedding import checkpoint_of_crops, different_crops

    rows = pd.Index(read_table(paths.IMAGES)["image"]).get_indexer(crops["image"])
    different, which = different_crops(rows, crops[["left", "top", "right", "bottom"]].to_numpy())
    with resumable(f"generate_captions-{name}") as work:
        checkpoint = checkpoint_of_crops(work, "captions", params.data, different, _how(params.generate_captions))
        return _texts(params, different, checkpoint), which


def _how(settings: GenerateCaptions) -> dict:
    """Return the params that decide which text is generated for a crop."""
    names = ("checkpoint", "name", "pretrained", "beams", "max_length", "batch_size")
    return {name: getattr(settings, name) for name in names}


def _texts(params: Params, crops: np.ndarray, checkpoint: Checkpoint) -> list[str]:
    """Generate a text for each crop; finished ones are read from the checkpoint."""
    from falcon_dvc.captioner import load_captioner
    from falcon_dvc.compute.device import best_device
    from falcon_dvc.compute.prefetch import ahead_of
    from falcon_dvc.crops.embedding import batches_of_crops, in_batches, pictures
    from falcon_dvc.images.open import open_images

    settings, finished = params.generate_captions, checkpoint.finished
    device = best_device(params.device)
    captioner = load_captioner(settings, device)
    texts: list[str] = json.loads(checkpoint.saved["texts"].tobytes()) if finished else []
    source = open_images(params.data, read_table(paths.IMAGES))
    batches = in_batches(crops[finished:], settings.batch_size)
    ready = batches_of_crops(source, batches, "captioning crops", list, pictures, ahead_of(device))
    with closing(ready):
        for batch in ready:
            texts += captioner.captions(batch)
            checkpoint.save(len(texts), texts=np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8))
    return texts


def _counts(captions: np.ndarray, which: np.ndarray) -> dict[str, int]:
    """Count rows, different crops, rows with a caption, different captions, and rows without a caption."""
    empty = int((captions == "").sum())
    return {
        "crops": len(captions),
        "different_crops": len(np.unique(which)),
        "captions": len(captions) - empty,
        "different": len(set(captions) - {""}),
        "empty": empty,
    }
