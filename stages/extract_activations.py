"""One pass of an encoder over all images: features, and the activation maps that every heatmap is made of (steps 1 and 4)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.common import files
from stages.common.artifacts import read_table, write_array
from stages.common.errors import UserError
from stages.common.progress import track
from stages.models.device import best_device
from stages.models.encoders import Encoder, load_encoder
from stages.sources.image_sources import open_images
from stages.sources.images import ImageSource

if TYPE_CHECKING:
    from stages.common.params import Params


def run(params: Params, name: str) -> None:
    """Write ``features.npy``, ``maps.npy`` and ``fields.npy`` of the encoder `name`."""
    table = read_table(files.IMAGES)
    source = open_images(params.data, table)
    encoder = load_encoder(params.encoders[name], best_device(), f"encoders.{name}")
    fields = [encoder.field(width, height) for width, height in zip(table["width"], table["height"], strict=True)]
    folder = files.activations(name)
    write_array(folder / "fields.npy", np.array(fields, dtype=np.int32))
    write_array(
        folder / "features.npy",
        _extract(source, encoder, folder / "maps.npy", params.extract_activations.batch_size, name),
    )


def _extract(source: ImageSource, encoder: Encoder, path: Path, batch_size: int, name: str) -> np.ndarray:
    """Stream the maps to disk and return the features; only one batch is ever in memory."""
    partial = path.with_name(".maps.partial.npy")
    features, maps = np.empty((len(source), encoder.width), dtype=np.float32), None
    for start in track(
        range(0, len(source), batch_size), f"activations of {name}", total=-(-len(source) // batch_size)
    ):
        rows = range(start, min(start + batch_size, len(source)))
        batch = encoder.activation_maps(source.load_many(rows))
        features[rows.start : rows.stop] = batch.mean(axis=(2, 3))
        if not np.isfinite(features[rows.start : rows.stop]).all():
            raise UserError(
                f"encoders.{name}: its activations hold NaN or infinite values (images {rows.start}-{rows.stop - 1}); check the checkpoint"
            )
        if maps is None:
            maps = np.lib.format.open_memmap(
                partial, mode="w+", dtype=np.float16, shape=(len(source), *batch.shape[1:])
            )
        maps[rows.start : rows.stop] = batch
    if maps is not None:
        maps.flush()
        os.replace(partial, path)
    return features
