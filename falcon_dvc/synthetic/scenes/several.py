"""Scenes of several objects: what stands beside the main object, and which attributes occur together.

A world decides which colours, textures and grounds are typical of an object. The images of another world show the same
things in other combinations.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy.random import PCG64, Generator

from falcon_dvc.synthetic.scenes.scenes import OFFSETS, VALUES, Look, boxes_of, integers

TYPICAL = 2  # colours, textures and grounds that are typical of an object
DEPENDENT = ("colour", "texture", "background")
OF_OBJECTS = ("object", "colour", "texture")  # what each object has, unlike the ground
FURTHER = "further_"  # columns of the values of the objects beside the main one
WORLD_STREAM = 99  # of the random numbers that decide what is typical
GRID = [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)]  # places of objects, in thirds of the picture


@dataclass(frozen=True)
class World:
    """What is typical of each object.

    Parameters
    ----------
    seed
        Decides what is typical.
    tilt
        Share of the objects, in [0, 1], whose colour is drawn from the typical ones; also of textures and of grounds.
    """

    seed: int
    tilt: float

    def typical(self, kind: str) -> Int[np.ndarray, "objects TYPICAL"]:
        """Return the numbers of the typical values of each object."""
        rng = Generator(PCG64([self.seed, WORLD_STREAM, DEPENDENT.index(kind)]))
        return np.array([rng.permutation(len(VALUES[kind]))[:TYPICAL] for _ in VALUES["object"]])

    def tilted(self, attributes: pd.DataFrame, rng: Generator) -> pd.DataFrame:
        """Replace a share of the attributes by values that are typical of the object; a copy."""
        number = attributes["object"].map(VALUES["object"].index).to_numpy(int)
        changed = {}
        for kind in DEPENDENT:
            favourite = self.typical(kind)[number, rng.integers(0, TYPICAL, size=len(attributes))]
            chosen = rng.random(len(attributes)) < self.tilt
            changed[kind] = np.where(chosen, np.array(VALUES[kind])[favourite], attributes[kind])
        return attributes.assign(**changed)


def draw_further(
    attributes: pd.DataFrame, world: World, look: Look, without: Collection[str], rng: Generator
) -> pd.DataFrame:
    """Draw the objects that stand beside the main object of each image, and their places.

    Parameters
    ----------
    attributes
        Of the main objects.
    look
        How many objects an image has (`objects`), and the size of the further ones.
    without
        Objects that never stand beside another one, as what they stand on is planted.

    Returns
    -------
    DataFrame
        One row for each further object, by image: ``row`` (of the image), ``object``, ``colour``, ``texture``,
        ``diameter``, ``x``, ``y``, ``mirrored``.
    """
    names = np.array([name for name in VALUES["object"] if name not in without])
    number = integers(rng, look.objects, len(attributes)) - 1
    row, place = np.repeat(np.arange(len(attributes)), number), np.concatenate([np.arange(one) for one in number])
    values = {kind: np.array(VALUES[kind])[rng.integers(0, len(VALUES[kind]), len(row))] for kind in DEPENDENT}
    drawn = pd.DataFrame({"object": names[rng.integers(0, len(names), len(row))], **values})
    centre = _free_places(attributes["position"], rng)[row, place.astype(int)] * (look.size // 3)
    jitter = rng.integers(-look.size // 32, look.size // 32 + 1, size=(len(row), 2))
    diameter = integers(rng, look.further_diameters, len(row))
    corner = look.size // 2 + centre + jitter - (diameter // 2)[:, None]
    corner = np.clip(corner, 0, look.size - diameter[:, None])
    placed = {"diameter": diameter, "x": corner[:, 0], "y": corner[:, 1], "mirrored": rng.integers(0, 2, len(row)) == 1}
    return world.tilted(drawn, rng).drop(columns="background").assign(row=row, **placed)


def objects_of(attributes: pd.DataFrame, boxes: pd.DataFrame, further: pd.DataFrame | None, size: int) -> pd.DataFrame:
    """List all objects of images, the main one of each image first.

    Returns
    -------
    DataFrame
        ``row`` (of the image), ``object``, ``colour``, ``texture``, ``left``, ``top``, ``right``, ``bottom``, ``main``.
    """
    sides, kinds = ["left", "top", "right", "bottom"], list(OF_OBJECTS)
    main = pd.concat([attributes[kinds], boxes[sides]], axis=1).assign(row=np.arange(len(attributes)), main=True)
    if further is None:
        return main
    beside = pd.concat([further[["row", *kinds]], boxes_of(further, size)[sides]], axis=1).assign(main=False)
    return pd.concat([main, beside]).sort_values("row", kind="stable", ignore_index=True)


def further_values(objects: pd.DataFrame, images: int) -> dict[str, list[list[str]]]:
    """List what the further objects of each image are, as columns of a table of images (``further_object``, …)."""
    beside = objects[~objects["main"]]
    listed = {kind: beside.groupby("row")[kind].agg(list).to_dict() for kind in OF_OBJECTS}
    return {f"{FURTHER}{kind}": [of_image.get(row, []) for row in range(images)] for kind, of_image in listed.items()}


def class_shares(table: pd.DataFrame, kind: str, further: float) -> Float[np.ndarray, "images classes"]:
    """Share the label of each image among its objects.

    Parameters
    ----------
    table
        Images with the attributes of the main object, and with `further_values`.
    kind
        One of `OF_OBJECTS`.
    further
        Share of the objects beside the main one, equal parts each. An image without them has its main object's value alone.
    """
    beside = table[f"{FURTHER}{kind}"].reset_index(drop=True).explode().dropna()
    row, count = beside.index.to_numpy(), np.bincount(beside.index, minlength=len(table))
    shares = np.zeros((len(table), len(VALUES[kind])), dtype=np.float32)
    number = table[kind].map(VALUES[kind].index).to_numpy(int)
    shares[np.arange(len(table)), number] = np.where(count > 0, 1 - further, 1)
    np.add.at(shares, (row, beside.map(VALUES[kind].index).to_numpy(int)), further / count[row])
    return shares


def _free_places(positions: pd.Series, rng: Generator) -> Int[np.ndarray, "images 8 2"]:
    """Return the places of the grid that the main object leaves free, in random order."""
    order = np.argsort(rng.random((len(positions), len(GRID))), axis=1)
    taken = positions.map(lambda position: GRID.index(OFFSETS[position])).to_numpy(int)
    free = order[order != taken[:, None]].reshape(len(positions), -1)
    return np.array(GRID)[free]
