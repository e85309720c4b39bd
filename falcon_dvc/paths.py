"""Paths of all files that stages exchange. docs/artifacts.md describes the tables."""

from pathlib import Path

DATA, MODELS, REPORTS = Path("data"), Path("models"), Path("reports")

PARAMS_CHECKED = DATA / "params_checked.txt"
IMAGES = DATA / "images.parquet"
CODE = DATA / "code"  # a file for each stage, of the code that it imports
# A folder for each encoder: DVC compares its files, and no stage reads them.
ENCODERS = DATA / "encoders"
SCENES = DATA / "scenes"
TRAINING = DATA / "training"
CAPTIONS = DATA / "captions"
# Embeddings of the whole images, and the maps from which crops are embedded (`mine_crops.embed`); the rows are those of IMAGES.
IMAGE_EMBEDDINGS = DATA / "image_embeddings"
# Embeddings of the windows of the images, in their order; an output of its own, as crops do not depend on it.
IMAGE_WINDOWS = DATA / "image_windows.npy"
# Captions of the whole images, whose rows are those of IMAGES.
IMAGE_CAPTIONS = DATA / "image_captions"
MENTIONS = DATA / "mentions.parquet"
EXPLAINED = DATA / "explained.parquet"
EXPLAINABILITY = DATA / "explainability"
FAILURES = DATA / "failures"
PROBES = DATA / "probes"  # a dependency of the failures, so the folder must exist even in a run without probes
ABLATIONS = DATA / "ablations"
# Not among the metrics, because the stage that writes it depends on that folder.
SUMMARY = REPORTS / "summary.json"
# A dependency of the report, so the folder must exist even in a run without pairs of encoders.
TRANSFERS = DATA / "transfers"


def code() -> list[Path]:
    """Return the folders of the code: this library, and the folder stages in the working folder, if it exists."""
    return [Path(__file__).parent, *(folder.resolve() for folder in [Path("stages")] if folder.is_dir())]


def activations(encoder: str) -> Path:
    """Return the folder of ``features.npy`` (images, features) and of ``maps.npy`` (images, features, height, width), if any."""
    return DATA / "activations" / encoder


def basis(encoder: str) -> Path:
    """Return the file of the basis of an encoder's features. It holds nothing for an encoder without one."""
    return DATA / "bases" / f"{encoder}.safetensors"


def groups(encoder: str) -> Path:
    """Return the folder of ``groups.parquet`` and ``sets.parquet``."""
    return DATA / "groups" / encoder


def crops(name: str) -> Path:
    """Return the folder of ``crops.parquet``, ``heatmaps.npy`` and ``embeddings.npy``, whose rows correspond."""
    return DATA / "crops" / name


def alignment(name: str) -> Path:
    """Return the file of an image-text encoder that was learned from pairs of images and captions."""
    return DATA / "alignments" / f"{name}.safetensors"


def generated(name: str) -> Path:
    """Return the file of captions generated for the crops. Line i belongs to row i of ``crops.parquet``."""
    return DATA / "generated" / f"{name}.txt"


def concepts(name: str) -> Path:
    """Return the folder of ``concepts.parquet``, ``evidence.parquet``, and the captions of all crops with their weights."""
    return DATA / "concepts" / name


def references(name: str) -> Path:
    """Return the features of copies of an encoder with random weights: (copies, held-out images, features)."""
    return DATA / "references" / f"{name}.npy"


def faithfulness(name: str) -> Path:
    """Return the table of the faithfulness of every feature and group."""
    return DATA / "faithfulness" / f"{name}.parquet"


def facets(name: str) -> Path:
    """Return the table of the facets of every feature."""
    return DATA / "facets" / f"{name}.parquet"


def quantiles(name: str) -> Path:
    """Return the table of the example images below the maximum of every feature."""
    return DATA / "quantiles" / f"{name}.parquet"


def transfers(pair: str) -> Path:
    """Return the table of the held-out images of each transferred group, selected through the map."""
    return TRANSFERS / f"{pair}.parquet"


def probe(name: str) -> Path:
    """Return the file of an encoder's linear probe."""
    return PROBES / f"{name}.safetensors"


def metrics(name: str) -> Path:
    """Return the path of a metrics file."""
    return REPORTS / "metrics" / f"{name}.json"


def table(name: str) -> Path:
    """Return the path of a CSV table in git."""
    return REPORTS / "tables" / f"{name}.csv"


def plot(name: str) -> Path:
    """Return the path of plot data in git."""
    return REPORTS / "plots" / f"{name}.csv"
