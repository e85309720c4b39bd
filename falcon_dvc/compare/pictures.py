"""Add pictures of crops and intervals of scores to a comparison, from the artefacts of the revisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table
from falcon_dvc.compare.comparison import EncoderComparison, FeatureChange, with_close_call
from falcon_dvc.compare.revisions import NotInCacheError, Revision, laid_out
from falcon_dvc.errors import UserError, one_line
from falcon_dvc.html.measurements import Measurement
from falcon_dvc.html.pictures import data_uri, explained_image, with_boxes
from falcon_dvc.images.decode import Box, UnreadableImageError, resized
from falcon_dvc.images.open import open_images
from falcon_dvc.progress import track

PICTURES, SIZE = 6, 64  # crops of a feature at each revision, and their side in pixels
GAP = 3  # transparent pixels between a crop and its image
DATA = ("source", "images", "list", "dataset", "dataset_split")  # params of the section data that open the images
Scores = dict[str, dict[str, dict[str, Measurement]]]  # by encoder, group and word


@dataclass(frozen=True)
class Missing:
    """Artefacts of a revision that are not on this machine, or that cannot be used for a reason."""

    revision: Revision
    paths: tuple[Path, ...]
    reason: str = ""


def in_lines(missing: Sequence[Missing]) -> list[str]:
    """List the missing artefacts with the commands that fetch them: a line for each revision and for each reason."""
    lines = [f"{item.revision.label}: {item.reason}" for item in missing if item.reason]
    for revision in dict.fromkeys(item.revision for item in missing if not item.reason):
        outs = dict.fromkeys(str(_out(path)) for item in missing if item.revision == revision for path in item.paths)
        lines.append(f"{revision.label}: {_absent(revision, list(outs))}")
    return lines


def _absent(revision: Revision, outs: Sequence[str]) -> str:
    """State which outputs are missing, and the command that fetches them."""
    what = "pictures or intervals of its words are not shown"
    if not revision.commit:
        return f"{what}: some of {', '.join(outs)} is not on the disk; `dvc repro` makes it"
    fetch = f"dvc fetch --all-commits {' '.join(outs)}"
    return f"{what}: DVC's cache does not hold all of their files; `{fetch}` brings them if they were pushed"


def _out(path: Path) -> Path:
    """Return the output of the pipeline that contains a file: the first three names, or the folder of the images."""
    return Path(*path.parts[:3]) if path.parts[0] == paths.DATA.name else path


def with_closeness(
    encoders: Sequence[EncoderComparison], old: Revision, new: Revision
) -> tuple[list[EncoderComparison], list[Missing]]:
    """Add to each changed first word whether it is a close call, if the cache has the intervals of the scores.

    Returns
    -------
    The encoders, and the missing artefacts.
    """
    names = [encoder.name for encoder in encoders if encoder.first_changed]
    (before, lacking_before), (after, lacking_after) = (_scores(revision, names) for revision in (old, new))
    completed = [
        replace(encoder, changes=[_with_close_call(change, before, after) for change in encoder.changes])
        for encoder in encoders
    ]
    return completed, lacking_before + lacking_after


def _with_close_call(change: FeatureChange, before: Scores, after: Scores) -> FeatureChange:
    known = change.encoder in before and change.encoder in after
    if not (known and change.first_changed):
        return change
    return with_close_call(change, *(scores[change.encoder].get(change.group, {}) for scores in (before, after)))


def _scores(revision: Revision, encoders: Sequence[str]) -> tuple[Scores, list[Missing]]:
    """Read the scores with their intervals of all words of a revision, kept or removed."""
    scores: Scores = {}
    lacking = []
    for name in encoders:
        path = paths.concepts(name) / "concepts.parquet"
        try:
            with laid_out(revision, [path]) as root:
                scores[name] = _by_group(read_table(root / path))
        except (NotInCacheError, UserError, KeyError):
            lacking.append(Missing(revision, (path,)))
    return scores, lacking


def _by_group(table: pd.DataFrame) -> dict[str, dict[str, Measurement]]:
    scores: dict[str, dict[str, Measurement]] = {}
    columns = ["group", "concept", "score", "interval_low", "interval_high"]
    for row in table.loc[table["kind"] == "word", columns].itertuples(index=False):
        measurement = Measurement(float(row.score), float(row.interval_low), float(row.interval_high))
        scores.setdefault(str(row.group), {}).setdefault(str(row.concept), measurement)
    return scores


def with_pictures(
    encoders: Sequence[EncoderComparison], shown: int, old: tuple[Revision, Any], new: tuple[Revision, Any]
) -> tuple[list[EncoderComparison], list[Missing]]:
    """Draw the highly activating crops of the first `shown` changed features of all encoders, at both revisions.

    Parameters
    ----------
    old, new : a revision, and its params as a mapping.

    Returns
    -------
    The encoders, and the missing artefacts.
    """
    wanted = _wanted(encoders, shown)
    drawn, lacking = zip(*(_drawn(revision, params, wanted) for revision, params in (old, new)), strict=True)
    pictured = [
        replace(encoder, changes=[_pictured(change, *drawn) for change in encoder.changes]) for encoder in encoders
    ]
    return pictured, [item for missing in lacking for item in missing]


def _pictured(change: FeatureChange, old: Mapping[Any, list[str]], new: Mapping[Any, list[str]]) -> FeatureChange:
    key = (change.encoder, change.group)
    return replace(change, pictures=(old.get(key, []), new.get(key, [])))


def first_shown(encoders: Sequence[EncoderComparison], shown: int) -> list[FeatureChange]:
    """Select the features that are shown with pictures: those of all encoders that changed most."""
    changes = [change for encoder in encoders for change in encoder.changes]
    return sorted(changes, key=lambda change: (not change.first_changed, -round(change.change, 9)))[:shown]


def _wanted(encoders: Sequence[EncoderComparison], shown: int) -> dict[str, list[str]]:
    """List the groups to draw, by encoder."""
    wanted: dict[str, list[str]] = {}
    for change in first_shown(encoders, shown):
        wanted.setdefault(change.encoder, []).append(change.group)
    return wanted


def _drawn(
    revision: Revision, params: Any, wanted: Mapping[str, Sequence[str]]
) -> tuple[dict[tuple[str, str], list[str]], list[Missing]]:
    """Draw pictures of the groups by encoder and group, and list the missing artefacts."""
    drawn: dict[tuple[str, str], list[str]] = {}
    lacking = []
    for encoder, groups in wanted.items():
        inputs = _paths(revision, params, encoder)
        try:
            with laid_out(revision, inputs) as root:
                drawn |= _draw(root, params, encoder, groups, files_of_images=_image_folder(params) in inputs)
        except NotInCacheError:
            lacking.append(Missing(revision, tuple(inputs)))
        except (UserError, UnreadableImageError, KeyError, ValueError, OSError) as error:
            reason = f"the pictures of {encoder} cannot be drawn: {one_line(error)}"
            lacking.append(Missing(revision, (), reason))
    return drawn, lacking


def _paths(revision: Revision, params: Any, encoder: str) -> list[Path]:
    """List the artefacts that draw the crops of an encoder, with the images if DVC tracks them."""
    crops = paths.crops(encoder)
    inputs = [paths.IMAGES, crops / "crops.parquet", crops / "heatmaps.npy", paths.activations(encoder) / "fields.npy"]
    images = _image_folder(params)
    return [*inputs, images] if revision.commit and revision.has(images) else inputs


def _image_folder(params: Any) -> Path:
    """Return the folder of the images."""
    return Path(str(_data(params).images))


def _data(params: Any) -> Any:
    """Return the params of the section ``data`` that open images; a revision may have an older schema."""
    section = params.get("data", {}) if isinstance(params, Mapping) else {}
    return SimpleNamespace(**{key: section.get(key) for key in DATA})


def _draw(
    root: Path, params: Any, encoder: str, groups: Sequence[str], files_of_images: bool
) -> dict[tuple[str, str], list[str]]:
    """Draw the first highly activating crops of each group from the artefacts in the folder `root`."""
    images = read_table(root / paths.IMAGES)
    shown = _shown(root, encoder, groups, images)
    data = _data(params)
    if files_of_images:
        data.images = str(root / data.images)
    source, heat = open_images(data, images), read_array(root / paths.crops(encoder) / "heatmaps.npy")
    drawn: dict[tuple[str, str], list[str]] = {}
    for crop in track(shown.itertuples(index=False), f"drawing crops of {encoder}", total=len(shown)):
        picture = _stacked(source.load(int(crop.row)), heat[crop.crop], crop.field, crop.box)
        drawn.setdefault((encoder, crop.group), []).append(data_uri(picture))
    return drawn


def _stacked(image: np.ndarray, heat: np.ndarray, seen: Box, box: Box) -> np.ndarray:
    """Draw a crop, and below it the whole image with the heatmap and the box, on a transparent background."""
    whole = Image.fromarray(explained_image(image, heat, seen, box, SIZE))
    picture = Image.new("RGBA", (SIZE, 2 * SIZE + GAP))
    picture.paste(Image.fromarray(resized(image, SIZE, box)), (0, 0))
    picture.paste(whole, ((SIZE - whole.width) // 2, SIZE + GAP))
    return np.asarray(picture)


def _shown(root: Path, encoder: str, groups: Sequence[str], images: pd.DataFrame) -> pd.DataFrame:
    """Select the first highly activating crops of the groups, with the columns that draw them."""
    crops = read_table(root / paths.crops(encoder) / "crops.parquet")
    crops = crops.assign(crop=np.arange(len(crops)))
    crops = crops[crops["group"].isin(groups) & (crops["role"] == "high") & (crops["rank"] < PICTURES)]
    shown = crops.sort_values(["group", "rank"], kind="stable").reset_index(drop=True)
    row = pd.Index(images["image"]).get_indexer(shown["image"])
    if (row < 0).any():
        raise UserError("its crops are of images that its list of images lacks")
    return with_boxes(shown, row, read_array(root / paths.activations(encoder) / "fields.npy"))
