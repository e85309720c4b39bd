"""Study stage: train another image-text encoder on images of another world, with the stages of the default run."""

import shutil
from pathlib import Path

from stages import render_scenes, train_clip
from worlds.image_text_encoders import params_of_reader
from worlds.worlds import scratch


def run(name: str) -> None:
    """Write ``models/reader_NAME.safetensors`` and ``metrics/reader_NAME.json`` (zero-shot accuracies on its own world)."""
    params = params_of_reader(name)
    with scratch() as home:
        (home / "models").mkdir(exist_ok=True)
        (home / "metrics").mkdir(exist_ok=True)
        render_scenes.run(params)
        train_clip.run(params)
        shutil.copy(train_clip.CHECKPOINT, home / "models" / f"reader_{name}.safetensors")
        shutil.copy(Path(train_clip.METRICS), home / "metrics" / f"reader_{name}.json")
