"""Render the synthetic data set: images, attributes, captions, and the training splits of the models."""

import os
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
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
from falcon_dvc.synthetic.scenes.scenes import BANK_SEED, Look, draw_attributes, plant, render
from falcon_dvc.synthetic.scenes.several import World, draw_further, further_values, objects_of

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
    look = look_of(section)
    with ProcessPoolExecutor(max_workers=2, initializer=_end_with_parent) as pool:
        # The largest split starts first. Each has its own random stream, so the order does not change the result.
        writers = (_write_clip_training, _write_scenes, _write_encoder_training, _write_words)
        written = [pool.submit(write, section, look) for write in writers]
        counts = {what: count for future in written for what, count in future.result().items()}
    return StageSummary(read={}, wrote=counts)


def look_of(section: Any) -> Look:
    """Return the settings of rendering that all splits share, as the params say."""
    return Look(
        section.size,
        tuple(section.diameters),
        0.0,
        tuple(section.closeup_diameters),
        section.distractors,
        section.noise,
        tuple(section.objects),
        tuple(section.further_diameters),
        section.matched,
    )


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
    seed = _seed_of_clip(section) if split == "clip" else section.seed
    return np.random.Generator(np.random.PCG64([seed, SPLITS.index(split)]))


def _seed_of_clip(section: Any) -> int:
    """Return the seed of the world that the image-text encoder learns from."""
    return section.seed if section.clip_world is None else section.clip_world


def draw(section: Any, count: int, rng: np.random.Generator, seed: int | None = None) -> pd.DataFrame:
    """Draw the attributes of main objects in the world of a seed, by default that of the params."""
    attributes, world = draw_attributes(count, rng), _world(section, seed)
    return world.tilted(attributes, rng) if world.tilt else attributes


def _world(section: Any, seed: int | None) -> World:
    return World(section.seed if seed is None else seed, section.tilt)


def rendered(
    section: Any,
    attributes: pd.DataFrame,
    look: Look,
    rng: np.random.Generator,
    seed: int | None = None,
    alone: Collection[str] | None = None,
) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Render images of main objects and, if params say so, of further ones: images, boxes, and all objects.

    Objects in `alone` never stand beside another one, as what they stand on is planted; by default those that params plant.
    """
    planted = {section.shortcut.object, section.shortcut.lookalike, section.cooccurrence.object}
    without = planted if alone is None else alone
    further = draw_further(attributes, _world(section, seed), look, without, rng) if has_several(look) else None
    images, boxes = render(attributes, look, rng, further)
    return images, boxes, objects_of(attributes, boxes, further, look.size)


def has_several(look: Look) -> bool:
    """Return whether an image may have more than one object."""
    return look.objects != (1, 1)


def _table(split: str, attributes: pd.DataFrame, boxes: pd.DataFrame) -> pd.DataFrame:
    """Join keys, attributes and boxes."""
    keys = pd.DataFrame({"image": [f"{split}-{row:05d}" for row in range(len(attributes))], "split": split})
    return pd.concat([keys, attributes, boxes], axis=1)


def _write_scenes(section: Any, look: Look) -> dict[str, int]:
    """Write probe images (with the co-occurrence) and test images (balanced), one after the other."""
    rng = _stream(section, "probe")
    spurious = section.cooccurrence
    probe = plant(draw(section, section.probe, rng), spurious.object, spurious.background, spurious.strength, rng)
    probe_images, probe_boxes, probe_objects = rendered(section, probe, look, rng)
    rng = _stream(section, "test")
    test = draw(section, section.test, rng)
    test_images, test_boxes, test_objects = rendered(section, test, look, rng)
    write_array(SCENES / "images.npy", np.concatenate([probe_images, test_images]))
    table = pd.concat([_table("probe", probe, probe_boxes), _table("test", test, test_boxes)])
    write_table(SCENES / "attributes.parquet", table)
    if has_several(look):
        objects = pd.concat([probe_objects, test_objects.assign(row=test_objects["row"] + len(probe))])
        image = table["image"].to_numpy()[objects["row"]]
        write_table(SCENES / "objects.parquet", objects.drop(columns="row").assign(image=image))
    return {f"images to {SCENES}": len(probe) + len(test)}


def _write_encoder_training(section: Any, look: Look) -> dict[str, int]:
    """Write the training images of the explained encoders, with the shortcut."""
    rng, shortcut = _stream(section, "encoders"), section.shortcut
    attributes = draw(section, section.encoder_train, rng)
    attributes = plant(attributes, shortcut.object, shortcut.background, shortcut.strength, rng)
    attributes = plant(attributes, shortcut.lookalike, shortcut.background, 0.0, rng)
    images, boxes, objects = rendered(section, attributes, look, rng)
    write_array(TRAINING / "encoders.npy", images)
    table = _table("encoders", attributes, boxes)
    further = further_values(objects, len(table)) if has_several(look) else {}
    write_table(TRAINING / "encoders.parquet", table.assign(**further))
    return {f"images to {TRAINING / 'encoders.npy'}": len(attributes)}


def _write_clip_training(section: Any, look: Look) -> dict[str, int]:
    """Write training images and captions of the image-text encoder.

    They are balanced, and range from distant views to close-ups cut at the border.
    """
    rng, seed = _stream(section, "clip"), _seed_of_clip(section)
    attributes = draw(section, section.clip_train, rng, seed)
    bank_seed = BANK_SEED if section.clip_world is None else section.clip_world
    closer = replace(look, closeups=section.closeups, bank_seed=bank_seed)
    images, boxes, _ = rendered(section, attributes, closer, rng, seed)
    captions = grammar.training_captions(attributes, section.captions_per_image, section.junk, rng)
    write_array(TRAINING / "clip.npy", images)
    write_table(TRAINING / "clip.parquet", _table("clip", attributes, boxes).assign(captions=captions))
    return {f"images to {TRAINING / 'clip.npy'}": len(attributes)}


def _write_words(section: Any, _look: Look) -> dict[str, int]:
    """Write the caption corpus and the words that name each value."""
    rng = _stream(section, "corpus")
    captions = grammar.corpus(
        draw(section, section.captions, rng), section.junk, section.absent, rng, section.near_duplicates
    )
    write_text(SCENES / "captions.txt", "".join(f"{caption}\n" for caption in captions))
    write_table(SCENES / "lexicon.parquet", grammar.lexicon())
    return {f"captions to {SCENES / 'captions.txt'}": len(captions)}
