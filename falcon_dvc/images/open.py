"""List and open the images of the source that the params name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from falcon_dvc.errors import UserError
from falcon_dvc.images.listing import Collection, Listing, list_collection, list_images
from falcon_dvc.images.packed import PackedImages
from falcon_dvc.images.source import FolderImages, ImageSource, open_collection
from falcon_dvc.placeholders import files_in, refuse_placeholders

PACKED = {"parquet": (".parquet",), "webdataset": (".tar",)}  # sources in files of many pictures, with their suffixes

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Data


def which_images(data: Data) -> dict[str, str | None]:
    """Return the params that select the images, by name."""
    return {
        "source": data.source,
        "images": data.images,
        "list": data.list,
        "dataset": data.dataset,
        "dataset_split": data.dataset_split,
    }


def list_source(data: Data) -> Listing:
    """List the user's images and decode each.

    Parameters
    ----------
    data : Data
        The section of params.yaml, with any source but ``scenes``.

    Raises
    ------
    UserError
        If the source is missing, holds no readable image, or does not match the params. If ``data.unreadable`` is
        "fail", also if any image is unreadable.
    """
    if data.source == "images":
        return list_images(data.images, data.unreadable)
    _refuse_placeholders(data)
    return list_collection(_collection(data), data.unreadable)


def _refuse_placeholders(data: Data) -> None:
    """Refuse tables and shards that are pointers or web pages."""
    if data.source == "list":
        refuse_placeholders([Path(data.images) / str(data.list)], "data.list")
    elif data.source in PACKED:
        refuse_placeholders(files_in(Path(data.images), PACKED[data.source]), "data.images")


def open_images(data: Data, table: pd.DataFrame) -> ImageSource:
    """Open the images of a table, in the order of its rows.

    Parameters
    ----------
    data : Data
        The section of params.yaml.
    table : pandas.DataFrame
        ``data/images.parquet``; its column image holds the ids.

    Raises
    ------
    UserError
        If the source is unknown or its files are missing.
    """
    ids = table["image"].tolist()
    if data.source == "scenes":
        return PackedImages(data.images, ids)
    if data.source == "images":
        return FolderImages(data.images, ids)
    return open_collection(_collection(data), ids)


def _collection(data: Data) -> Collection:
    """Find the images of a source that must be searched before an image of it can be opened."""
    if data.source == "list":
        from falcon_dvc.images.table import find_in_table

        return find_in_table(data.images, str(data.list))
    if data.source == "parquet":
        from falcon_dvc.images.parquet import find_in_parquet

        return find_in_parquet(data.images)
    if data.source == "webdataset":
        from falcon_dvc.images.shards import find_in_shards

        return find_in_shards(data.images)
    if data.source == "torchvision":
        from falcon_dvc.images.torchvision import find_in_dataset

        return find_in_dataset(data.images, str(data.dataset), str(data.dataset_split))
    raise UserError(
        f"data.source: {data.source!r} is unknown; use scenes, images, list, parquet, webdataset or torchvision"
    )
