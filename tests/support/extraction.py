"""What the stage extract_activations reads: random images in the current folder, and params of one encoder."""

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_array, write_table
from falcon_dvc.params.load import load_params
from falcon_dvc.params.schema import EncoderSpec, Params
from tests.support.paths import ROOT


def write_images(count: int) -> np.ndarray:
    """Write random images of 16 x 16 pixels, and their table, into the current folder."""
    names = [f"probe-{row}" for row in range(count)]
    table = pd.DataFrame({"image": names, "split": "probe", "label": "", "width": 16, "height": 16})
    write_table(paths.IMAGES, table)
    write_table(paths.SCENES / "attributes.parquet", table[["image", "split"]])
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    write_array(paths.SCENES / "images.npy", images)
    return images


def params_of(**spec) -> Params:
    """The shipped params with the encoder `mine` alone, and batches of two images."""
    entry = TypeAdapter(EncoderSpec).validate_python(spec)
    params = load_params(ROOT / "params.yaml")
    settings = params.extract_activations.model_copy(update={"batch_size": 2})
    return params.model_copy(update={"encoders": {"mine": entry}, "extract_activations": settings})
