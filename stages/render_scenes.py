"""Render the synthetic data set: images, attributes, captions, and the training splits of the models."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd

from falcon_dvc.artifacts.formats import write_array, write_table, write_text
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.params.inputs import check_plants
from falcon_dvc.synthetic import captions as grammar
from falcon_dvc.synthetic.scenes.scenes import Look, draw_attributes, plant, render

SCENES, TRAINING = Path("data/scenes"), Path("data/training")
SPLITS = ("probe", "test", "clip", "encoders", "corpus")  # each has its own random stream


def run(params: Any) -> StageSummary:
    """Render every split and write it.

    Parameters
    ----------
    params
        The params; the stage uses ``render_scenes``.

    Raises
    ------
    UserError
        If a plant names an object or a background that does not exist.
    """
    section = params.render_scenes
    check_plants(section)
    look = Look(
        section.size,
        tuple(section.diameters),
        0.0,
        tuple(section.closeup_diameters),
        section.distractors,
        section.noise,
    )
    with ProcessPoolExecutor(max_workers=2, initializer=_end_with_parent) as pool:
        # The largest split starts first. Each has its own random stream, so the order does not change the result.
        writers = (_write_clip_training, _write_scenes, _write_encoder_training, _write_words)
        written = [pool.submit(write, section, look) for write in writers]
        counts = {what: count for future in written for what, count in future.result().items()}
    return StageSummary(read={}, wrote=counts)


def _end_with_parent() -> None:
    """End this process when its parent has ended.

    Otherwise the workers of a killed stage would never end.
    """
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


def _stream(section: Any, split: str) -> np.random.Generator:
    """Return the random numbers of one split.

    So the number of images of one split does not change the others.
    """
    return np.random.Generator(np.random.PCG64([section.seed, SPLITS.index(split)]))


def _table(split: str, attributes: pd.DataFrame, boxes: pd.DataFrame) -> pd.DataFrame:
    """Join keys, attributes and boxes."""
    keys = pd.DataFrame({"image": [f"{split}-{row:05d}" for row in range(len(attributes))], "split": split})
    return pd.concat([keys, attributes, boxes], axis=1)


def _write_scenes(section: Any, look: Look) -> dict[str, int]:
    """Write probe images (with the co-occurrence) and test images (balanced), one after the other."""
    rng = _stream(section, "probe")
    spurious = section.cooccurrence
    probe = plant(draw_attributes(section.probe, rng), spurious.object, spurious.background, spurious.strength, rng)
    probe_images, probe_boxes = render(probe, look, rng)
    rng = _stream(section, "test")
    test = draw_attributes(section.test, rng)
    test_images, test_boxes = render(test, look, rng)
    write_array(SCENES / "images.npy", np.concatenate([probe_images, test_images]))
    write_table(
        SCENES / "attributes.parquet",
        pd.concat([_table("probe", probe, probe_boxes), _table("test", test, test_boxes)]),
    )
    return {f"images to {SCENES}": len(probe) + len(test)}


def _write_encoder_training(section: Any, look: Look) -> dict[str, int]:
    """Write the training images of the explained encoders, with the shortcut."""
    rng, shortcut = _stream(section, "encoders"), section.shortcut
    attributes = draw_attributes(section.encoder_train, rng)
    attributes = plant(attributes, shortcut.object, shortcut.background, shortcut.strength, rng)
    attributes = plant(attributes, shortcut.lookalike, shortcut.background, 0.0, rng)
    images, boxes = render(attributes, look, rng)
    write_array(TRAINING / "encoders.npy", images)
    write_table(TRAINING / "encoders.parquet", _table("encoders", attributes, boxes))
    return {f"images to {TRAINING / 'encoders.npy'}": len(attributes)}


def _write_clip_training(section: Any, look: Look) -> dict[str, int]:
    """Write training images and captions of the image-text encoder.

    They are balanced, and range from distant views to close-ups cut at the border.
    """
    rng = _stream(section, "clip")
    attributes = draw_attributes(section.clip_train, rng)
    closer = Look(look.size, look.diameters, section.closeups, look.closeup_diameters, look.distractors, look.noise)
    images, boxes = render(attributes, closer, rng)
    captions = grammar.training_captions(attributes, section.captions_per_image, section.junk, rng)
    write_array(TRAINING / "clip.npy", images)
    write_table(TRAINING / "clip.parquet", _table("clip", attributes, boxes).assign(captions=captions))
    return {f"images to {TRAINING / 'clip.npy'}": len(attributes)}


def _write_words(section: Any, _look: Look) -> dict[str, int]:
    """Write the caption corpus and the words that name each value."""
    rng = _stream(section, "corpus")
    captions = grammar.corpus(
        draw_attributes(section.captions, rng), section.junk, section.absent, rng, section.near_duplicates
    )
    write_text(SCENES / "captions.txt", "".join(f"{caption}\n" for caption in captions))
    write_table(SCENES / "lexicon.parquet", grammar.lexicon())
    return {f"captions to {SCENES / 'captions.txt'}": len(captions)}
