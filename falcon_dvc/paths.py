"""Names of the files that pass between stages, in one place; the schemas of the tables are in docs/artifacts.md."""

from pathlib import Path

DATA, MODELS, REPORTS = Path("data"), Path("models"), Path("reports")

IMAGES = DATA / "images.parquet"
SCENES = DATA / "scenes"
TRAINING = DATA / "training"
CAPTIONS = DATA / "captions"
MENTIONS = DATA / "mentions.parquet"
EXPLAINABILITY = DATA / "explainability"
FAILURES = DATA / "failures"
# The report depends on the folder, so it must exist in a run that has no pair of encoders.
TRANSFERS = DATA / "transfers"


def code() -> list[Path]:
    """Folders of the code that computes: this library, and the stages of the project in the working folder, if it has any."""
    return [Path(__file__).parent, *(folder.resolve() for folder in [Path("stages")] if folder.is_dir())]


def activations(encoder: str) -> Path:
    """``features.npy`` (images, features) and, if heatmaps are made of it, ``maps.npy`` (images, features, height, width)."""
    return DATA / "activations" / encoder


def groups(encoder: str) -> Path:
    """``groups.parquet`` and ``sets.parquet``."""
    return DATA / "groups" / encoder


def crops(name: str) -> Path:
    """``crops.parquet``, ``heatmaps.npy``, ``embeddings.npy``, row by row."""
    return DATA / "crops" / name


def generated(name: str) -> Path:
    """Captions generated for the crops: line i is about row i of ``crops.parquet``."""
    return DATA / "generated" / f"{name}.txt"


def concepts(name: str) -> Path:
    """``concepts.parquet`` and ``evidence.parquet``."""
    return DATA / "concepts" / name


def transfers(pair: str) -> Path:
    """Held-out images of each carried group, found through the map."""
    return TRANSFERS / f"{pair}.parquet"


def metrics(name: str) -> Path:
    """Return a metrics file."""
    return REPORTS / "metrics" / f"{name}.json"


def table(name: str) -> Path:
    """Return a table for people, in git."""
    return REPORTS / "tables" / f"{name}.csv"


def plot(name: str) -> Path:
    """Plot data, in git."""
    return REPORTS / "plots" / f"{name}.csv"
