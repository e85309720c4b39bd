"""The same pictures in each source of images that is read, and the params that point to them."""

import csv
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from falcon_dvc.params.schema import Data


def data(source: str, path: Path, **given) -> Data:
    """The section of the params."""
    values = {"captions": "captions.txt", "unreadable": "skip", "heldout": 0.0} | given
    return Data.model_validate({"source": source, "images": str(path)} | values)


def as_folder(path: Path, pictures: dict[str, bytes], **given) -> Data:
    path.mkdir()
    for name, content in pictures.items():
        (path / f"{name}.jpg").write_bytes(content)
    return data("images", path, **given)


def as_list(path: Path, pictures: dict[str, bytes], **given) -> Data:
    as_folder(path, pictures)
    with (path / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image"], *([f"{name}.jpg"] for name in pictures)])
    return data("list", path, list="images.csv", **given)


def as_structs(path: Path, pictures: dict[str, bytes], **given) -> Data:
    column = pa.array([{"bytes": content, "path": None} for content in pictures.values()])
    pq.write_table(pa.table({"image": column, "key": list(pictures)}), path, row_group_size=2)
    return data("parquet", path, **given)


def as_binary(path: Path, pictures: dict[str, bytes], **given) -> Data:
    pq.write_table(pa.table({"jpg": list(pictures.values()), "key": list(pictures)}), path, row_group_size=3)
    return data("parquet", path, **given)


def as_shards(path: Path, pictures: dict[str, bytes], **given) -> Data:
    path.mkdir()
    with tarfile.open(path / "0.tar", "w") as archive:
        for name, content in pictures.items():
            member = tarfile.TarInfo(f"{name}.jpg")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data("webdataset", path, **given)


SOURCES = [as_folder, as_list, as_structs, as_binary, as_shards]
every_source = pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)


def name_of(image: str) -> str:
    """What a picture was called before the source made an id of it."""
    return image.rpartition(":")[2].removesuffix(".jpg")


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(content))


def save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def save_idx(path: Path, array: np.ndarray) -> None:
    """Write unsigned bytes as MNIST does."""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    save(path, header + array.astype(np.uint8).tobytes())


def mnist(root: Path, digits: int = 12) -> Path:
    """Both splits; the picture of a digit has its grey."""
    for split in ("train", "t10k"):
        shown = np.arange(digits, dtype=np.uint8)
        grey = np.broadcast_to(shown[:, None, None], (digits, 5, 4))
        save_idx(root / "MNIST" / "raw" / f"{split}-images-idx3-ubyte", grey)
        save_idx(root / "MNIST" / "raw" / f"{split}-labels-idx1-ubyte", shown % 10)
    return root
