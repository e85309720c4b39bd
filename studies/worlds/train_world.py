"""Study stage: render a world of another seed and train its encoders, with the stages of the default run."""

import shutil
from pathlib import Path

from falcon_dvc.artifacts.formats import read_json, write_json
from stages import render_scenes, train_encoder
from worlds.worlds import params_of, read_world, scratch


def run(name: str) -> None:
    """Write ``models/NAME/ENCODER.safetensors`` and ``models/NAME/training.json`` (held-out accuracies)."""
    world = read_world(name)
    params = params_of(world)
    with scratch() as home:
        folder = home / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        render_scenes.run(params)
        for encoder in world.encoders:
            train_encoder.run(params, encoder)
            shutil.copy(Path("models") / f"{encoder}.safetensors", folder)
        measured = {encoder: read_json(f"reports/metrics/train_{encoder}.json") for encoder in world.encoders}
        write_json(folder / "training.json", measured)
