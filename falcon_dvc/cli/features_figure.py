"""Draw docs/features.png, the picture at the top of README.md: one feature of each kind with its words and crops."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_bytes
from falcon_dvc.concepts.words.listing import in_words
from falcon_dvc.html.pictures import explained_image
from falcon_dvc.images.decode import resized
from falcon_dvc.images.open import open_images

if TYPE_CHECKING:
    from falcon_dvc.images.source import ImageSource
    from falcon_dvc.params.schema import Params

PICTURE = Path("docs/features.png")
KINDS = ("object", "colour", "texture", "background")
CROPS = 7  # in a row
SIDE, GAP, LEFT = 72, 4, 210  # pixels: side of a crop, space between crops, left edge of the first crop
ROW = 2 * SIDE + 5 * GAP
WORDS = 4  # shown of a feature
COLOURS = 160  # a palette keeps the file small
INK, FAINT, PAPER = "#1c1e21", "#60656b", "#ffffff"


def run(params: Params, path: Path = PICTURE) -> Path:
    """Draw the features of the first encoder that correlate most with an attribute of each kind.

    The correlation is over held-out images. Only features with a right first concept are drawn.
    """
    name = next(iter(params.encoders))
    truth = read_table(paths.table(f"{name}_truth"))
    truth = truth[truth["hit_first"].astype(str) == "True"].sort_values(
        ["correlation", "group"], ascending=[False, True]
    )
    chosen = [truth.loc[truth["kind"] == kind, "group"].iloc[0] for kind in KINDS if (truth["kind"] == kind).any()]
    words = in_words(read_table(paths.concepts(name) / "concepts.parquet"))
    canvas = Image.new("RGB", (LEFT + CROPS * (SIDE + GAP), ROW * len(chosen)), PAPER)
    source = open_images(params.data, read_table(paths.IMAGES))
    for place, group in enumerate(chosen):
        _draw_words(ImageDraw.Draw(canvas), group, words.get(group, ""), place * ROW)
        _draw_crops(canvas, source, name, group, place * ROW)
    buffer = io.BytesIO()
    canvas.quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    write_bytes(path, buffer.getvalue())
    return path


def _draw_words(draw: ImageDraw.ImageDraw, group: str, words: str, top: int) -> None:
    """Draw the name of a feature and its first words with their scores, the first word larger."""
    draw.text((8, top + 8), f"feature {group.removeprefix('f')}", FAINT, ImageFont.load_default(14))
    for place, text in enumerate(words.split("; ")[:WORDS]):
        word, _, score = text.partition(":")
        size = 22 if place == 0 else 15
        y = top + 32 + (0 if place == 0 else 12 + 20 * place)
        draw.text((8, y), word, INK if place == 0 else FAINT, ImageFont.load_default(size))
        draw.text((LEFT - 50, y), score, INK if place == 0 else FAINT, ImageFont.load_default(size - 2))


def _draw_crops(canvas: Image.Image, source: ImageSource, name: str, group: str, top: int) -> None:
    """Draw the strongest crops of a feature, and below each its image with the heatmap and the box."""
    crops = read_table(paths.crops(name) / "crops.parquet")
    crops = crops.assign(crop=np.arange(len(crops)))
    crops = crops[(crops["group"] == group) & (crops["role"] == "high")].sort_values("rank").head(CROPS)
    rows = pd.Index(read_table(paths.IMAGES)["image"]).get_indexer(crops["image"])
    heatmaps = read_array(paths.crops(name) / "heatmaps.npy")
    fields = read_array(paths.activations(name) / "fields.npy")
    for place, (row, crop) in enumerate(zip(rows, crops.itertuples(), strict=True)):
        image, box = source.load(int(row)), (int(crop.left), int(crop.top), int(crop.right), int(crop.bottom))
        heated = explained_image(image, heatmaps[crop.crop], tuple(fields[row].tolist()), box, SIDE)
        x = LEFT + place * (SIDE + GAP)
        canvas.paste(Image.fromarray(resized(image, SIDE, box)), (x, top + GAP))
        canvas.paste(Image.fromarray(heated), (x, top + SIDE + 2 * GAP))
