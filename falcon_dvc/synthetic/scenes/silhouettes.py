"""Object classes of the synthetic data set: silhouettes as inequalities on a square, and their anti-aliased masks.

Only comparisons and ``+ - * /`` on float64 are used. IEEE 754 defines them exactly, so masks are the same on every machine.
Coordinates: ``x`` to the right and ``y`` down, both in [-1, 1].
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int

Grid = Float[np.ndarray, "rows columns"]
Region = Bool[np.ndarray, "rows columns"]

SUBPIXELS = 4  # a pixel's coverage is counted on SUBPIXELS x SUBPIXELS points
FULL = SUBPIXELS * SUBPIXELS  # coverage of a pixel that lies wholly inside


def ellipse(
    x: Grid, y: Grid, centre_x: float, centre_y: float, radius_x: float, radius_y: float | None = None
) -> Region:
    """Return the points inside an ellipse (a disc if one radius is given)."""
    u = (x - centre_x) / radius_x
    v = (y - centre_y) / (radius_x if radius_y is None else radius_y)
    return u * u + v * v <= 1


def box(x: Grid, y: Grid, left: float, top: float, right: float, bottom: float) -> Region:
    """Return the points inside an axis-aligned rectangle."""
    return (x >= left) & (x <= right) & (y >= top) & (y <= bottom)


def polygon(x: Grid, y: Grid, corners: Sequence[tuple[float, float]]) -> Region:
    """Return the points inside a polygon by the even-odd rule: a ray to the right crosses the outline an odd number of times."""
    inside = np.zeros(x.shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if y0 != y1:
            crosses = ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
            inside ^= crosses
    return inside


def _freight(x: Grid, y: Grid) -> Region:
    """Draw cargo and cabin, which boat and truck share. The two differ only below the deck."""
    cabin = polygon(x, y, [(0.36, -0.2), (0.7, -0.2), (0.92, 0.1), (0.92, 0.32), (0.36, 0.32)])
    return box(x, y, -0.9, -0.6, 0.26, 0.32) | cabin


def boat(x: Grid, y: Grid) -> Region:
    """Draw cargo and cabin on a hull."""
    return _freight(x, y) | polygon(x, y, [(-1, 0.2), (1, 0.2), (0.66, 0.8), (-0.7, 0.8)])


def truck(x: Grid, y: Grid) -> Region:
    """Draw cargo and cabin on wheels."""
    wheels = ellipse(x, y, -0.52, 0.52, 0.3) | ellipse(x, y, 0.52, 0.52, 0.3)
    return _freight(x, y) | box(x, y, -0.95, 0.2, 0.95, 0.42) | wheels


def car(x: Grid, y: Grid) -> Region:
    """Draw a low body with a roof, on wheels."""
    roof = polygon(x, y, [(-0.65, 0.05), (-0.38, -0.5), (0.3, -0.5), (0.62, 0.05)])
    wheels = ellipse(x, y, -0.55, 0.42, 0.27) | ellipse(x, y, 0.55, 0.42, 0.27)
    return roof | box(x, y, -1, 0, 1, 0.42) | wheels


def house(x: Grid, y: Grid) -> Region:
    """Draw walls with a door, under a gable roof with a chimney."""
    roof = polygon(x, y, [(-1, -0.05), (0, -0.95), (1, -0.05)]) | box(x, y, 0.45, -0.9, 0.7, -0.2)
    return (roof | box(x, y, -0.75, -0.1, 0.75, 0.95)) & ~box(x, y, -0.2, 0.35, 0.2, 0.96)


def tree(x: Grid, y: Grid) -> Region:
    """Draw a fir of three tiers."""
    tiers = [
        [(0, -1), (0.5, -0.35), (-0.5, -0.35)],
        [(0, -0.65), (0.72, 0.1), (-0.72, 0.1)],
        [(0, -0.2), (0.92, 0.6), (-0.92, 0.6)],
    ]
    crown = polygon(x, y, tiers[0]) | polygon(x, y, tiers[1]) | polygon(x, y, tiers[2])
    return crown | box(x, y, -0.18, 0.5, 0.18, 1)


def fish(x: Grid, y: Grid) -> Region:
    """Draw a body with tail, fin and an eye."""
    tail = polygon(x, y, [(0.35, 0), (1, -0.6), (0.82, 0), (1, 0.6)])
    fin = polygon(x, y, [(-0.4, -0.4), (0.15, -0.8), (0.3, -0.3)])
    return (ellipse(x, y, -0.25, 0, 0.75, 0.5) | tail | fin) & ~ellipse(x, y, -0.62, -0.12, 0.1)


def bird(x: Grid, y: Grid) -> Region:
    """Draw a standing bird in profile."""
    beak = polygon(x, y, [(0.7, -0.62), (1, -0.42), (0.7, -0.28)])
    tail = polygon(x, y, [(-0.3, -0.05), (-1, -0.45), (-0.95, 0.2), (-0.4, 0.35)])
    legs = box(x, y, -0.2, 0.4, -0.06, 0.98) | box(x, y, 0.16, 0.4, 0.3, 0.98)
    return ellipse(x, y, 0, 0.15, 0.62, 0.42) | ellipse(x, y, 0.48, -0.45, 0.34) | beak | tail | legs


def star(x: Grid, y: Grid) -> Region:
    """Draw a star of five points."""
    outer = [(0, -1), (0.951, -0.309), (0.588, 0.809), (-0.588, 0.809), (-0.951, -0.309)]
    inner = [(0.247, -0.34), (0.399, 0.13), (0, 0.42), (-0.399, 0.13), (-0.247, -0.34)]
    return polygon(x, y, [corner for pair in zip(outer, inner, strict=True) for corner in pair])


def heart(x: Grid, y: Grid) -> Region:
    """Draw two lobes over a point."""
    lobes = ellipse(x, y, -0.48, -0.35, 0.52) | ellipse(x, y, 0.48, -0.35, 0.52)
    return lobes | polygon(x, y, [(-0.93, -0.1), (-0.3, -0.3), (0.3, -0.3), (0.93, -0.1), (0, 0.95)])


def umbrella(x: Grid, y: Grid) -> Region:
    """Draw a scalloped canopy over a thin stick with a hook."""
    scallops = (
        ellipse(x, y, -0.67, 0, 0.33, 0.22) | ellipse(x, y, 0, 0, 0.33, 0.22) | ellipse(x, y, 0.67, 0, 0.33, 0.22)
    )
    canopy = ellipse(x, y, 0, 0, 1, 0.95) & (y < 0) & ~scallops
    hook = ellipse(x, y, 0.22, 0.7, 0.32) & ~ellipse(x, y, 0.22, 0.7, 0.14) & (y > 0.7)
    return canopy | box(x, y, -0.1, -0.3, 0.08, 0.72) | hook


def mushroom(x: Grid, y: Grid) -> Region:
    """Draw a cap on a thick stem that widens downwards."""
    cap = ellipse(x, y, 0, 0.02, 0.95, 0.95) & (y < 0.1)
    return cap | polygon(x, y, [(-0.25, 0.05), (0.25, 0.05), (0.48, 0.95), (-0.48, 0.95)])


def key(x: Grid, y: Grid) -> Region:
    """Draw a ring, a shaft and two teeth."""
    ring = ellipse(x, y, -0.48, 0, 0.52) & ~ellipse(x, y, -0.48, 0, 0.2)
    teeth = box(x, y, 0.42, 0, 0.62, 0.58) | box(x, y, 0.8, 0, 1, 0.5)
    return ring | box(x, y, -0.05, -0.16, 1, 0.16) | teeth


def cup(x: Grid, y: Grid) -> Region:
    """Draw a tapered body with a handle."""
    handle = ellipse(x, y, 0.5, -0.05, 0.48) & ~ellipse(x, y, 0.5, -0.05, 0.24)
    return handle | polygon(x, y, [(-0.9, -0.8), (0.5, -0.8), (0.32, 0.85), (-0.7, 0.85)])


def flower(x: Grid, y: Grid) -> Region:
    """Draw six petals around an open centre."""
    petals = [(0.6, 0), (0.3, 0.52), (-0.3, 0.52), (-0.6, 0), (-0.3, -0.52), (0.3, -0.52)]
    bloom = ellipse(x, y, 0, 0, 0.55)
    for centre_x, centre_y in petals:
        bloom |= ellipse(x, y, centre_x, centre_y, 0.37)
    return bloom & ~ellipse(x, y, 0, 0, 0.2)


def crown(x: Grid, y: Grid) -> Region:
    """Draw a band with three spikes."""
    return polygon(x, y, [(-0.95, 0.7), (-0.95, -0.55), (-0.45, 0), (0, -0.8), (0.45, 0), (0.95, -0.55), (0.95, 0.7)])


def bottle(x: Grid, y: Grid) -> Region:
    """Draw a body with shoulders and a neck."""
    shoulders = polygon(x, y, [(-0.5, 0.05), (-0.2, -0.35), (0.2, -0.35), (0.5, 0.05)])
    return shoulders | box(x, y, -0.5, 0, 0.5, 1) | box(x, y, -0.2, -1, 0.2, -0.3)


SILHOUETTES: dict[str, Callable[[Grid, Grid], Region]] = {
    draw.__name__: draw
    for draw in (
        boat,
        truck,
        car,
        house,
        tree,
        fish,
        bird,
        star,
        heart,
        umbrella,
        mushroom,
        key,
        cup,
        flower,
        crown,
        bottle,
    )
}

DISTRACTORS: tuple[Callable[[Grid, Grid], Region], ...] = (
    lambda x, y: ellipse(x, y, 0, 0, 1),
    lambda x, y: box(x, y, -0.8, -0.8, 0.8, 0.8),
    lambda x, y: polygon(x, y, [(0, -0.9), (0.95, 0.8), (-0.95, 0.8)]),
)


def _region(draw: Callable[[Grid, Grid], Region], diameter: int) -> Region:
    """Sample a silhouette on SUBPIXELS points a pixel, with one empty pixel all around."""
    points = (np.arange(diameter * SUBPIXELS) + 0.5) * (2.0 / (diameter * SUBPIXELS)) - 1.0
    x, y = np.broadcast_arrays(points[None, :], points[:, None])
    return np.pad(draw(x, y), SUBPIXELS)


def _coverage(region: Region) -> Int[np.ndarray, "rows columns 1"]:
    """Count the points of each pixel that lie inside, 0 to FULL."""
    rows, columns = region.shape[0] // SUBPIXELS, region.shape[1] // SUBPIXELS
    counts = region.reshape(rows, SUBPIXELS, columns, SUBPIXELS).sum(axis=(1, 3))
    return counts.astype(np.uint16)[:, :, None]


def _thickened(region: Region) -> Region:
    """Widen a region by most of a pixel in eight directions, which preserves corners."""
    reach, diagonal = SUBPIXELS - 1, SUBPIXELS - 2
    steps = [
        (0, reach),
        (0, -reach),
        (reach, 0),
        (-reach, 0),
        (diagonal, diagonal),
        (diagonal, -diagonal),
        (-diagonal, diagonal),
        (-diagonal, -diagonal),
    ]
    thick = region.copy()
    for rows, columns in steps:
        thick |= np.roll(region, (rows, columns), axis=(0, 1))
    return thick


@cache
def object_masks(name: str, diameter: int, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the coverage of an object, and of the object with its outline.

    Parameters
    ----------
    name
        Class, a key of `SILHOUETTES`.
    diameter
        Side of the square that the silhouette fills, in pixels.
    mirrored
        Whether left and right are swapped.

    Returns
    -------
    tuple of uint16 arrays (diameter + 2, diameter + 2, 1)
        Coverage of the object and of the object with outline, 0 to FULL. One pixel wider on each side than the silhouette.
    """
    region = _region(SILHOUETTES[name], diameter)
    region = region[:, ::-1] if mirrored else region
    return _coverage(region), _coverage(_thickened(region))


@cache
def distractor_mask(kind: int, diameter: int) -> np.ndarray:
    """Return the coverage of a distractor, uint16 (diameter + 2, diameter + 2, 1), 0 to FULL."""
    return _coverage(_region(DISTRACTORS[kind], diameter))
