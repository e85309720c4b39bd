"""Grounds of the synthetic data set: a bank of large tiles per kind. Every picture shows a random window of a tile.

Only integers, comparisons and ``+ - *`` are used, so that the bank is the same on every machine. The colours are muted
(objects are saturated) and each ground has a structure, so that a green object on grass and a blue one on water are visible.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int, UInt8

TILE = 160  # pixels a side of a tile
VARIANTS = 6  # tiles per kind
MATCHED_LEVEL, MATCHED_CONTRAST = 128, 20  # mean and mean absolute deviation of matched tiles, in grey levels

Shade = Int[np.ndarray, "TILE TILE"]


def _cells(rng: np.random.Generator, low: int, high: int, height: int, width: int) -> Shade:
    """Draw random shades in [low, high], constant over cells of height x width pixels."""
    shades = rng.integers(low, high + 1, size=(TILE // height + 1, TILE // width + 1))
    return shades.repeat(height, axis=0).repeat(width, axis=1)[:TILE, :TILE]


def _blurred(shades: Shade, reach: int) -> Shade:
    """Return the mean over squares with a side of 2 * reach + 1 pixels; edges wrap around."""
    for axis in (0, 1):
        shades = np.stack([np.roll(shades, step, axis=axis) for step in range(-reach, reach + 1)]).sum(axis=0) // (
            2 * reach + 1
        )
    return shades


def _tinted(colour: tuple[int, int, int], shades: Shade) -> Int[np.ndarray, "TILE TILE 3"]:
    """Paint one colour, lightened or darkened by `shades`."""
    return np.array(colour)[None, None, :] + shades[:, :, None]


def _grass(rng: np.random.Generator) -> np.ndarray:
    """Draw upright blades, lighter and darker."""
    blades = _cells(rng, -34, 26, 5, 1) + _cells(rng, -12, 12, 3, 2)
    return _tinted((98, 122, 70), blades)


def _water(rng: np.random.Generator) -> np.ndarray:
    """Draw long flat waves with light crests."""
    waves = _blurred(_cells(rng, -60, 50, 4, 20), 2)
    crests = 42 * (_cells(rng, 0, 9, 2, 9) == 0)
    return _tinted((84, 118, 146), waves + crests)


def _sand(rng: np.random.Generator) -> np.ndarray:
    """Draw fine grains over soft dunes."""
    dunes = _blurred(_cells(rng, -40, 30, 10, 10), 4)
    return _tinted((205, 186, 146), dunes + _cells(rng, -16, 14, 1, 1))


def _snow(rng: np.random.Generator) -> np.ndarray:
    """Draw white with soft bluish hollows."""
    hollows = _blurred(_cells(rng, -70, 26, 12, 12), 5)
    return np.array((228, 232, 240)) + hollows[:, :, None] * np.array((5, 4, 3)) // 4


def _brick(rng: np.random.Generator) -> np.ndarray:
    """Draw courses of bricks with light joints, every second course shifted by half a brick."""
    shades = _cells(rng, -18, 18, 8, 16)
    rows, columns = np.indices((TILE, TILE))
    shift = 8 * ((rows // 8) % 2)
    shades = shades[rows, (columns + shift) % TILE]
    joint = (rows % 8 == 0) | ((columns + shift) % 16 == 0)
    bricks = _tinted((142, 92, 78), shades + _cells(rng, -6, 6, 1, 1))
    return np.where(joint[:, :, None], np.array((186, 180, 172)), bricks)


def _night(rng: np.random.Generator) -> np.ndarray:
    """Draw a dark blue sky with small stars."""
    stars = (rng.integers(0, 70, size=(TILE, TILE)) == 0) * rng.integers(90, 210, size=(TILE, TILE))
    haze = _blurred(_cells(rng, -14, 14, 16, 16), 6)
    return _tinted((20, 22, 46), haze + stars)


def _wood(rng: np.random.Generator) -> np.ndarray:
    """Draw upright planks with grain and dark gaps."""
    columns = np.indices((TILE, TILE))[1]
    grain = _cells(rng, -14, 14, 20, 1) + _cells(rng, -16, 16, 80, 12)
    return _tinted((118, 92, 62), grain - 46 * (columns % 12 == 0))


def _gravel(rng: np.random.Generator) -> np.ndarray:
    """Draw grey pebbles with dark edges."""
    pebbles = _blurred(_cells(rng, -120, 120, 4, 4), 1)
    return _tinted((132, 132, 130), np.clip(pebbles, -52, 46))


GROUNDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "grass": _grass, "water": _water, "sand": _sand, "snow": _snow,
    "brick": _brick, "night": _night, "wood": _wood, "gravel": _gravel,
}  # fmt: skip


def background_bank(seed: int, matched: bool = False) -> UInt8[np.ndarray, "kinds VARIANTS TILE TILE 3"]:
    """Draw every tile of every kind, kinds in the order of `GROUNDS`.

    Parameters
    ----------
    matched
        Whether all tiles get the same mean and the same contrast, and lose their colour. Only their structure then differs,
        which a network with random weights hardly tells apart.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    tiles = np.array([[draw(rng) for _ in range(VARIANTS)] for draw in GROUNDS.values()])
    return np.clip(_matched(tiles) if matched else tiles, 0, 255).astype(np.uint8)


def _matched(tiles: Int[np.ndarray, "kinds VARIANTS TILE TILE 3"]) -> Int[np.ndarray, "kinds VARIANTS TILE TILE 3"]:
    """Scale the brightness of each tile to the same mean and mean absolute deviation, in integers."""
    brightness = tiles.clip(0, 255).sum(axis=-1)  # three times the grey level
    count = TILE * TILE
    deviation = brightness * count - brightness.sum(axis=(2, 3), keepdims=True)
    spread = np.abs(deviation).sum(axis=(2, 3), keepdims=True) // count
    grey = MATCHED_LEVEL + deviation * MATCHED_CONTRAST // np.maximum(spread, 1)
    return grey[..., None].repeat(3, axis=-1)
