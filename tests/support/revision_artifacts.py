"""A tiny repository with two commits and an experiment, whose pictures lie in DVC's cache only."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
from dvc.repo import Repo
from ruamel.yaml import YAML

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_array, write_json, write_table, write_text

ENCODER = "first"
TRACKED = ["data/images.parquet", "data/scenes", "data/activations/first", "data/crops/first", "data/concepts/first"]


def git(*arguments):
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments], check=True)


def make_repository():
    """In the current folder: tags ``one`` and ``two``, the experiment ``trial``; the working tree is that of ``two``."""
    git("init", "-q", "-b", "main")
    with Repo.init() as repo:
        repo.config["core"]["analytics"] = False
        write_text("dvc.yaml", "stages:\n  nothing:\n    cmd: 'true'\n    params: [concepts]\n")
        for tag, contrast, shade, words in (
            ("one", "relative", 60, {"f0": "boat:0.50; red:0.40", "f1": "sky:0.90"}),
            ("two", "prior", 200, {"f0": "red:0.48; boat:0.45", "f1": "sky:0.90", "f2": "new:0.10"}),
        ):
            write_run(contrast, shade, words)
            repo.add(TRACKED)
            git("add", "-A", ".")
            git("commit", "-q", "-m", f"Results {tag}")
            git("tag", tag)
        _experiment(repo)


def _experiment(repo):
    """Save other results as an experiment, then take them back."""
    write_run("trial", 120, {"f0": "ship:0.70", "f1": "sky:0.90", "f2": "new:0.10"})
    repo.add(TRACKED)
    repo.experiments.save(name="trial")
    git("checkout", "-q", ".")
    write_run("prior", 200, {"f0": "red:0.48; boat:0.45", "f1": "sky:0.90", "f2": "new:0.10"})


def write_run(contrast, shade, words):
    """All that a comparison reads."""
    params = {"data": {"source": "scenes", "images": "data/scenes"}, "encoders": {ENCODER: {"kind": "scenes"}}}
    with Path("params.yaml").open("w") as file:
        YAML().dump(params | {"concepts": {"contrast": contrast}}, file)
    top1 = {"relative": 0.5, "prior": 0.55, "trial": 0.9}[contrast]
    interval = {"interval_low": top1 - 0.1, "interval_high": top1 + 0.1}
    write_json(paths.metrics("evaluation_first"), {"features": shade, "all": {"top1": top1, **interval}})
    rows = [{"group": group, "members": group[1:], "words": text} for group, text in words.items()]
    write_table(paths.table("first_concepts"), pd.DataFrame(rows))
    write_pictures(shade, list(words))
    write_table(paths.concepts(ENCODER) / "concepts.parquet", concepts(words))


def concepts(words):
    """Every word with an interval of 0.2 around its score."""
    rows = [(group, *part.rsplit(":", 1)) for group, text in words.items() for part in text.split("; ")]
    table = pd.DataFrame(rows, columns=["group", "concept", "score"]).astype({"score": float})
    return table.assign(kind="word", interval_low=table["score"] - 0.1, interval_high=table["score"] + 0.1)


def write_pictures(shade, groups):
    """Grey images of one shade, by which a test knows the revision; two crops of each group."""
    names = [f"probe-{row:05d}" for row in range(4)]
    write_array(paths.SCENES / "images.npy", np.full((4, 32, 32, 3), shade, dtype=np.uint8))
    write_table(paths.SCENES / "attributes.parquet", pd.DataFrame({"image": names}))
    write_table(paths.IMAGES, pd.DataFrame({"image": names, "split": "probe", "label": "", "width": 32, "height": 32}))
    rows = [(group, "high", rank, names[rank]) for group in groups for rank in range(2)]
    crops = pd.DataFrame(rows, columns=["group", "role", "rank", "image"])
    write_table(paths.crops(ENCODER) / "crops.parquet", crops.assign(left=4, top=4, right=20, bottom=20, empty=False))
    write_array(paths.crops(ENCODER) / "heatmaps.npy", np.zeros((len(crops), 4, 4), dtype=np.uint8))
    write_array(paths.activations(ENCODER) / "fields.npy", np.tile(np.array([0, 0, 32, 32], dtype=np.int32), (4, 1)))
