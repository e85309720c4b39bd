"""The synthetic data set: small pictures of one object on a ground, with known attributes.

Rendering uses integers and exactly rounded float operations only (see `silhouettes`, `backgrounds`). The bytes depend on
the seed but not on the machine. Attributes are uniform and independent, except for those that `plant` changes.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8

from falcon_dvc.synthetic.scenes.backgrounds import GROUNDS, TILE, VARIANTS, background_bank
from falcon_dvc.synthetic.scenes.silhouettes import DISTRACTORS, FULL, SILHOUETTES, distractor_mask, object_masks

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (224, 30, 36), "orange": (250, 134, 12), "yellow": (246, 226, 24), "green": (28, 180, 52),
    "turquoise": (20, 212, 208), "blue": (32, 72, 232), "purple": (136, 36, 190), "pink": (252, 122, 190),
}  # fmt: skip
TEXTURES = ("plain", "striped", "dotted", "checkered")
OFFSETS: dict[str, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "top": (0, -1),
    "bottom": (0, 1),
    "centre": (0, 0),
}
VALUES: dict[str, tuple[str, ...]] = {
    "object": tuple(SILHOUETTES),
    "colour": tuple(COLOURS),
    "texture": TEXTURES,
    "background": tuple(GROUNDS),
    "position": tuple(OFFSETS),
}
CLASSIFIED = (
    "object",
    "colour",
    "texture",
    "background",
)  # kinds that models learn and are measured on; not the position, which crops remove
BANK_SEED = 20230711  # fixed, so that the grounds do not depend on the seed of the scenes
OUTLINE = 22  # grey level of an object's outline
DARKENED = 5  # the second shade of a texture is the colour times DARKENED / 16
CHUNK = 512  # images whose noise is drawn together


@dataclass(frozen=True)
class Look:
    """Settings of rendering that do not depend on the attributes.

    Parameters
    ----------
    size
        Pixels a side.
    diameters
        Smallest and largest object, in pixels.
    closeups
        Share of images whose object has a diameter from `closeup_diameters` instead.
    closeup_diameters
        Smallest and largest close-up, in pixels. An object larger than `size` is cut off by the picture's edge.
    distractors
        Largest number of small grey shapes.
    noise
        Largest change of a pixel by noise, in grey levels.
    objects
        Least and largest number of objects in an image. If there may be several, they stand on a grid of nine places.
    further_diameters
        Smallest and largest object beside the main one, in pixels.
    matched
        Whether all grounds have the same mean colour and contrast.
    bank_seed
        Decides the tiles of the grounds.
    """

    size: int = 64
    diameters: tuple[int, int] = (18, 32)
    closeups: float = 0.0
    closeup_diameters: tuple[int, int] = (33, 88)
    distractors: int = 2
    noise: int = 15
    objects: tuple[int, int] = (1, 1)
    further_diameters: tuple[int, int] = (11, 15)
    matched: bool = False
    bank_seed: int = BANK_SEED


def class_numbers(attributes: pd.DataFrame) -> dict[str, Int[np.ndarray, " images"]]:
    """Return the index of every image's value among the values of each classified kind."""
    return {kind: attributes[kind].map(VALUES[kind].index).to_numpy(np.int64) for kind in CLASSIFIED}


def draw_attributes(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw independent, uniform attributes.

    Returns
    -------
    DataFrame
        One row per image, one column of names per kind of `VALUES`.
    """
    return pd.DataFrame(
        {kind: np.array(values)[rng.integers(0, len(values), size=count)] for kind, values in VALUES.items()}
    )


def plant(
    attributes: pd.DataFrame, name: str, background: str, strength: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Put a share of one object's images on one ground, and the others uniformly on the other grounds.

    Parameters
    ----------
    attributes
        As from `draw_attributes`.
    name, background
        The object and its ground.
    strength
        Probability in [0, 1] that an image of the object has this ground.

    Returns
    -------
    DataFrame
        A copy with the column `background` changed where `object` is `name`.
    """
    others = np.array([ground for ground in GROUNDS if ground != background])
    elsewhere = others[rng.integers(0, len(others), size=len(attributes))]
    grounds = np.where(rng.random(len(attributes)) < strength, background, elsewhere)
    chosen = np.where(attributes["object"] == name, grounds, attributes["background"])
    return attributes.assign(background=chosen)


def integers(rng: np.random.Generator, bounds: tuple[int, int], count: int) -> Int[np.ndarray, " count"]:
    """Draw uniform integers, both bounds included."""
    return rng.integers(bounds[0], bounds[1] + 1, size=count)


def _place(attributes: pd.DataFrame, look: Look, rng: np.random.Generator) -> pd.DataFrame:
    """Choose each object's diameter and the corner of its mask (which may lie outside the picture)."""
    count = len(attributes)
    close = rng.random(count) < look.closeups
    diameter = np.where(close, integers(rng, look.closeup_diameters, count), integers(rng, look.diameters, count))
    offset = np.array([OFFSETS[position] for position in attributes["position"]]).reshape(count, 2)
    step, jitter = look.size // (5 if look.objects == (1, 1) else 3), look.size // 20
    centre = look.size // 2 + offset * step + rng.integers(-jitter, jitter + 1, size=(count, 2))
    corner = centre - (diameter // 2)[:, None]
    if look.objects != (1, 1):  # a place of the grid is at the border, where a small object would be cut off
        inside = np.clip(corner, 0, np.maximum(look.size - diameter, 0)[:, None])
        corner = np.where((diameter < look.size // 2)[:, None], inside, corner)
    return pd.DataFrame(
        {"diameter": diameter, "x": corner[:, 0], "y": corner[:, 1], "mirrored": rng.integers(0, 2, size=count) == 1}
    )


def boxes_of(places: pd.DataFrame, size: int) -> pd.DataFrame:
    """Return the boxes of the objects, cut to the picture, in pixels; right and bottom are exclusive."""
    ends = {
        "left": places["x"],
        "top": places["y"],
        "right": places["x"] + places["diameter"],
        "bottom": places["y"] + places["diameter"],
    }
    boxes = {side: np.clip(end, 0, size).astype(np.int32) for side, end in ends.items()}
    return pd.DataFrame(boxes | {"size": places["diameter"].astype(np.int32)})


def _blend(canvas: np.ndarray, coverage: np.ndarray, paint: np.ndarray, x: int, y: int) -> None:
    """Paint a mask with its corner at (x, y) on `canvas` (uint16, rows, columns, 3), in place."""
    side, size = coverage.shape[0], canvas.shape[0]
    top, left = max(0, -y), max(0, -x)
    bottom, right = min(side, size - y), min(side, size - x)
    if top >= bottom or left >= right:
        return
    share = coverage[top:bottom, left:right]
    window = canvas[y + top : y + bottom, x + left : x + right]
    paint = paint[top:bottom, left:right] if paint.ndim == 3 else paint
    window[...] = (window * (FULL - share) + paint * share + FULL // 2) // FULL


def _pattern(texture: str, side: int, period: int, phase: int) -> np.ndarray:
    """Return the pixels with the darker shade of a texture, bool (side, side)."""
    rows, columns = np.indices((side, side), dtype=np.int32) + phase
    half = (period + 1) // 2
    if texture == "striped":
        return (rows + columns) % period < half
    if texture == "checkered":
        return (rows % period < half) != (columns % period < half)
    u, v = 2 * (rows % period) - (period - 1), 2 * (columns % period) - (period - 1)
    return 25 * (u * u + v * v) <= 9 * period * period


def _paint(texture: str, colour: np.ndarray, side: int, phase: int) -> np.ndarray:
    """Return the colours of an object's pixels, uint16: (3,) if plain, else (side, side, 3)."""
    if texture == "plain":
        return colour
    period = max(6, side // 5)
    darker = _pattern(texture, side, period, phase % period)
    return np.where(darker[:, :, None], colour * DARKENED // 16, colour).astype(np.uint16)


def _windows(attributes: pd.DataFrame, look: Look, rng: np.random.Generator) -> Iterable[np.ndarray]:
    """Yield each image's ground with random brightness, uint16 (size, size, 3)."""
    bank = background_bank(look.bank_seed, look.matched)
    kinds = [list(GROUNDS).index(ground) for ground in attributes["background"]]
    variants = rng.integers(0, VARIANTS, size=len(attributes))
    corners = rng.integers(0, TILE - look.size + 1, size=(len(attributes), 2))
    brightness = rng.integers(54, 70, size=len(attributes)).astype(np.uint16)
    for kind, variant, (y, x), level in zip(kinds, variants, corners, brightness, strict=True):
        window = bank[kind, variant, y : y + look.size, x : x + look.size].astype(np.uint16)
        yield np.minimum(window * level // 64, np.uint16(255))


def _distractors(
    count: int, look: Look, rng: np.random.Generator
) -> list[list[tuple[np.ndarray, np.ndarray, int, int]]]:
    """Draw each image's grey shapes: (mask, grey level, x, y)."""
    numbers = rng.integers(0, look.distractors + 1, size=count)
    kinds = rng.integers(0, len(DISTRACTORS), size=(count, look.distractors))
    diameters = rng.integers(5, 9, size=(count, look.distractors))
    greys = rng.integers(70, 190, size=(count, look.distractors)).astype(np.uint16)
    corners = rng.integers(-2, look.size - 5, size=(count, look.distractors, 2))
    return [
        [
            (distractor_mask(int(kinds[i, k]), int(diameters[i, k])), greys[i, k : k + 1], *corners[i, k].tolist())
            for k in range(numbers[i])
        ]
        for i in range(count)
    ]


def _colours(attributes: pd.DataFrame, rng: np.random.Generator) -> Int[np.ndarray, "images 3"]:
    """Draw each object's colour, with random changes of the channels and of the brightness."""
    base = np.array([COLOURS[colour] for colour in attributes["colour"]]).reshape(len(attributes), 3)
    jittered = base + rng.integers(-10, 11, size=base.shape)
    return np.clip(jittered * rng.integers(54, 68, size=(len(attributes), 1)) // 64, 0, 255).astype(np.uint16)


def _add_noise(images: UInt8[np.ndarray, "images rows columns 3"], noise: int, rng: np.random.Generator) -> None:
    """Add triangular noise of at most `noise` grey levels to every value, in place, chunk by chunk to bound memory."""
    for start in range(0, len(images) if noise else 0, CHUNK):
        chunk = images[start : start + CHUNK]
        draws = rng.integers(0, 256, size=(2, *chunk.shape), dtype=np.uint8).astype(np.int16)
        change = ((draws[0] - draws[1]) * np.int16(noise)) // np.int16(256)
        chunk[...] = np.clip(chunk + change, 0, 255)


def render(
    attributes: pd.DataFrame, look: Look, rng: np.random.Generator, further: pd.DataFrame | None = None
) -> tuple[UInt8[np.ndarray, "images rows columns 3"], pd.DataFrame]:
    """Render one picture per row of `attributes`.

    Parameters
    ----------
    attributes
        Names in the columns of `VALUES`.
    look
        Sizes, distractors, noise.
    rng
        Source of all random choices.
    further
        Objects beside the main one (`several.draw_further`), which is drawn over them.

    Returns
    -------
    images : uint8 (images, size, size, 3)
    boxes : DataFrame
        ``left, top, right, bottom`` of the object inside the picture and its ``size`` (diameter before cutting), in pixels.
    """
    places = _place(attributes, look, rng)
    colours, distractors = _colours(attributes, rng), _distractors(len(attributes), look, rng)
    phases = rng.integers(0, 1000, size=len(attributes))
    beside = _beside(further, rng)
    images = np.empty((len(attributes), look.size, look.size, 3), dtype=np.uint8)
    rows = zip(
        _windows(attributes, look, rng),
        attributes["object"],
        attributes["texture"],
        places.itertuples(index=False),
        strict=True,
    )
    for i, (canvas, name, texture, place) in enumerate(rows):
        for mask, grey, x, y in distractors[i]:
            _blend(canvas, mask, grey, x, y)
        for other in beside.get(i, ()):
            _draw_object(canvas, *other)
        _draw_object(canvas, name, texture, colours[i], place, int(phases[i]))
        images[i] = canvas
    _add_noise(images, look.noise, rng)
    return images, boxes_of(places, look.size)


def _beside(further: pd.DataFrame | None, rng: np.random.Generator) -> dict[int, list[tuple]]:
    """Draw colours and phases of further objects; the arguments of `_draw_object` by image."""
    if further is None:
        return {}
    colours, phases, found = _colours(further, rng), rng.integers(0, 1000, size=len(further)), defaultdict(list)
    for place, colour, phase in zip(further.itertuples(index=False), colours, phases.tolist(), strict=True):
        found[place.row].append((place.object, place.texture, colour, place, phase))
    return found


def _draw_object(canvas: np.ndarray, name: str, texture: str, colour: np.ndarray, place: Any, phase: int) -> None:
    """Draw an object's outline, then the object, in place."""
    inside, outlined = object_masks(name, place.diameter, place.mirrored)
    _blend(canvas, outlined, np.array([OUTLINE], dtype=np.uint16), place.x - 1, place.y - 1)
    _blend(canvas, inside, _paint(texture, colour, len(inside), phase), place.x - 1, place.y - 1)
