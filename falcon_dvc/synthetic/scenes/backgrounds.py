"""Grounds of the rendered world: a bank of large tiles per kind, from which every picture takes a random window.

Integers, comparisons and ``+ - *`` only, so that the bank is the same on every machine. Colours are muted (objects are saturated), and
every ground has its own structure, so that neither a green object on grass nor a blue one on water disappears.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int, UInt8

TILE = 160  # pixels a side of a tile
VARIANTS = 6  # tiles per kind

Shade = Int[np.ndarray, "TILE TILE"]


def _cells(rng: np.random.Generator, low: int, high: int, height: int, width: int) -> Shade:
    """Random shades in [low, high], constant over cells of height x width pixels."""
    shades = rng.integers(low, high + 1, size=(TILE // height + 1, TILE // width + 1))
    return shades.repeat(height, axis=0).repeat(width, axis=1)[:TILE, :TILE]


def _blurred(shades: Shade, reach: int) -> Shade:
    """Mean over a square of 2 * reach + 1 pixels a side, wrapped around the edges."""
    for axis in (0, 1):
        shades = np.stack([np.roll(shades, step, axis=axis) for step in range(-reach, reach + 1)]).sum(axis=0) // (
            2 * reach + 1
        )
    return shades


def _tinted(colour: tuple[int, int, int], shades: Shade) -> Int[np.ndarray, "TILE TILE 3"]:
    """Paint one colour, lightened or darkened by `shades`."""
    return np.array(colour)[None, None, :] + shades[:, :, None]


def _grass(rng: np.random.Generator) -> np.ndarray:
    """Upright blades, lighter and darker."""
    blades = _cells(rng, -34, 26, 5, 1) + _cells(rng, -12, 12, 3, 2)
    return _tinted((98, 122, 70), blades)


def _water(rng: np.random.Generator) -> np.ndarray:
    """Long flat waves with light crests."""
    waves = _blurred(_cells(rng, -60, 50, 4, 20), 2)
    crests = 42 * (_cells(rng, 0, 9, 2, 9) == 0)
    return _tinted((84, 118, 146), waves + crests)


def _sand(rng: np.random.Generator) -> np.ndarray:
    """Fine grains over soft dunes."""
    dunes = _blurred(_cells(rng, -40, 30, 10, 10), 4)
    return _tinted((205, 186, 146), dunes + _cells(rng, -16, 14, 1, 1))


def _snow(rng: np.random.Generator) -> np.ndarray:
    """White with soft bluish hollows."""
    hollows = _blurred(_cells(rng, -70, 26, 12, 12), 5)
    return np.array((228, 232, 240)) + hollows[:, :, None] * np.array((5, 4, 3)) // 4


def _brick(rng: np.random.Generator) -> np.ndarray:
    """Courses of bricks, every second one shifted by half a brick, with light joints."""
    shades = _cells(rng, -18, 18, 8, 16)
    rows, columns = np.indices((TILE, TILE))
    shift = 8 * ((rows // 8) % 2)
    shades = shades[rows, (columns + shift) % TILE]
    joint = (rows % 8 == 0) | ((columns + shift) % 16 == 0)
    bricks = _tinted((142, 92, 78), shades + _cells(rng, -6, 6, 1, 1))
    return np.where(joint[:, :, None], np.array((186, 180, 172)), bricks)


def _night(rng: np.random.Generator) -> np.ndarray:
    """Dark blue sky with small stars."""
    stars = (rng.integers(0, 70, size=(TILE, TILE)) == 0) * rng.integers(90, 210, size=(TILE, TILE))
    haze = _blurred(_cells(rng, -14, 14, 16, 16), 6)
    return _tinted((20, 22, 46), haze + stars)


def _wood(rng: np.random.Generator) -> np.ndarray:
    """Upright planks with grain and dark gaps."""
    columns = np.indices((TILE, TILE))[1]
    grain = _cells(rng, -14, 14, 20, 1) + _cells(rng, -16, 16, 80, 12)
    return _tinted((118, 92, 62), grain - 46 * (columns % 12 == 0))


def _gravel(rng: np.random.Generator) -> np.ndarray:
    """Grey pebbles with dark edges."""
    pebbles = _blurred(_cells(rng, -120, 120, 4, 4), 1)
    return _tinted((132, 132, 130), np.clip(pebbles, -52, 46))


GROUNDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "grass": _grass, "water": _water, "sand": _sand, "snow": _snow,
    "brick": _brick, "night": _night, "wood": _wood, "gravel": _gravel,
}  # fmt: skip


def background_bank(seed: int) -> UInt8[np.ndarray, "kinds VARIANTS TILE TILE 3"]:
    """Draw every tile of every kind, kinds in the order of `GROUNDS`."""
    rng = np.random.Generator(np.random.PCG64(seed))
    tiles = [[draw(rng) for _ in range(VARIANTS)] for draw in GROUNDS.values()]
    return np.clip(np.array(tiles), 0, 255).astype(np.uint8)
