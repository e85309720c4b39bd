"""Features that follow colours, with first words, captions of whole images and references: what `measure_faithfulness` reads."""

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_array, write_table
from falcon_dvc.groups.image_sets import compared_activations
from tests.support.stage_params import params_of
from tests.support.transfer_spaces import COLOURS, NAMES

COPIES = 2
ALONE = {"simclr": None, "supervised": None, "untrained_1": None, "untrained_2": None}
OTHERS = {
    "train": {"supervised": None, "simclr": None},
    "failures": {"encoders": []},
    "ablate_features": {"encoders": []},
    "transfers": {"supervised_to_simclr": None, "simclr_to_supervised": None},
}


def faithful_params(encoders=None, **measured):
    """Params of the encoder `a`, and of others, with quick settings of `measure_faithfulness`."""
    spec = {"kind": "scenes", "checkpoint": "a.safetensors"}
    entries = {"a": {}} if encoders is None else encoders
    settings = {"reference_encoders": COPIES, "bootstrap": 20} | measured
    return params_of(
        {
            **OTHERS,
            "encoders": ALONE | {name: spec | entry for name, entry in entries.items()},
            "measure_faithfulness": settings,
        }
    )


def control(*of):
    """The entry of a control."""
    return {"weights": "random", "control_of": list(of)}


def write_faithful(heldout=90):
    """Features `f0` to `f2` fire for red, green and blue, and have these words; group `g` has the first two, called red.

    The images are those of the fixture `spaces`, and the last `heldout` of them are held out. References are noise.
    """
    images = read_table(paths.IMAGES)
    images["split"] = np.where(np.arange(len(images)) < len(images) - heldout, "probe", "test")
    images["label"] = np.array(NAMES)[colours_of_images()]
    write_table(paths.IMAGES, images)
    groups = pd.DataFrame({"group": ["f0", "f1", "f2", "g"], "members": ["0", "1", "2", "0 1"], "size": [1, 1, 1, 2]})
    rng = np.random.default_rng(0)
    features = np.eye(3)[colours_of_images()] + 0.1 * rng.random((len(images), 3))
    for name in ("a", "b"):
        write_table(paths.groups(name) / "groups.parquet", groups)
        write_array(paths.groups(name) / "activations.npy", compared_activations(features, "row"))
        write_array(paths.references(name), rng.random((COPIES, heldout, 3), dtype=np.float32))
        write_first_words(name, [*NAMES, "red"])
    captions = colours_of_images()[:, None] + 3 * np.arange(5)  # all five captions of its colour
    write_array(paths.IMAGE_CAPTIONS / "captions.npy", captions)
    write_array(paths.IMAGE_CAPTIONS / "weights.npy", np.full(captions.shape, 0.2))


def write_first_words(name, words):
    """The first word of each group; "" is none."""
    groups = ["f0", "f1", "f2", "g"]
    table = pd.DataFrame({"group": groups, "kind": "word", "rank": 1, "concept": words, "kept": True})
    write_table(paths.concepts(name) / "concepts.parquet", table[table["concept"] != ""])


def colours_of_images():
    """The number of the colour of each image."""
    pixels = read_array(paths.SCENES / "images.npy")[:, 0, 0]
    return (pixels[:, None] == np.array(list(COLOURS.values()))).all(axis=2).argmax(axis=1)
