"""Bytes flipped, cut, inserted and repeated in good files of every kind: a result, or one line; see `damage`."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

from falcon_dvc.artifacts.formats import read_array, read_json, read_table
from falcon_dvc.captions.formats import open_captions
from falcon_dvc.captions.selection import select, selected
from falcon_dvc.embeddings import UnitRows, caption_ids, open_embeddings
from falcon_dvc.images.open import list_source, open_images
from falcon_dvc.params.load import load_params
from tests.support import damaged_pictures as pictures
from tests.support.damage import assert_readable_or_one_line
from tests.support.image_sources import as_shards, as_structs, data
from tests.support.paths import ROOT
from tests.support.sample_images import SAMPLES, coloured
from tests.support.stage_params import params_of

TEXTS = ["a cat", "ein Hund, der läuft", 'a "boat"', "a\nbus", "", "犬", "x" * 300] * 3
GRID = np.arange(24, dtype=np.float32).reshape(6, 4)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def parquet(table: dict, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(table), sink, **options)
    return sink.getvalue().to_pybytes()


def captions(path: Path) -> None:
    """All that the index reads of a corpus."""
    source = open_captions(params_of({"data": {"captions": str(path)}}).data)
    for part in selected(source, select(source), with_source=True):
        part.validate(full=True)


def embeddings(path: Path) -> None:
    """All rows, and the ids."""
    rows = UnitRows([open_embeddings(path)])[:]
    assert np.isfinite(rows).all()
    caption_ids(path)


def array(path: Path) -> None:
    for mapped in (True, False):
        read_array(path, mapped).sum()


def table(path: Path) -> None:
    read_table(path).to_csv()


def image(path: Path) -> None:
    """As a file in a folder beside a good one."""
    params = data("images", path.parent)
    (path.parent / "good.png").write_bytes(coloured(1))
    listing = list_source(params)
    open_images(params, listing.table).load_many(range(len(listing.table)), workers=1)
    assert len(listing.table) + len(listing.skipped) == 2


def images(source: str):
    def read(path: Path) -> None:
        params = data(source, path)
        listing = list_source(params)
        open_images(params, listing.table).load_many(range(len(listing.table)), workers=1)

    return read


ANNOTATIONS = {"annotations": [{"id": number, "caption": text} for number, text in enumerate(TEXTS)]}
NUMBERS = {"caption": range(len(TEXTS)), "text": TEXTS, "value": np.linspace(0, 1, len(TEXTS))}
READERS = {
    "text": ("c.txt", "\n".join(TEXTS).encode(), captions),
    "CSV": ("c.csv", pd.DataFrame({"caption": TEXTS, "n": 1}).to_csv(index=False).encode(), captions),
    "CSV of one column": ("c.csv", pd.DataFrame({"caption": TEXTS}).to_csv(index=False).encode(), captions),
    "JSON lines": ("c.jsonl", "\n".join(json.dumps({"caption": text}) for text in TEXTS).encode(), captions),
    "COCO": ("c.json", json.dumps(ANNOTATIONS).encode(), captions),
    "parquet": ("c.parquet", parquet({"caption": TEXTS}), captions),
    "parquet in groups": ("c.parquet", parquet({"n": range(21), "caption": TEXTS}, row_group_size=5, compression="none"), captions),
    "templates": ("c.yaml", b"templates: ['a {}', \"the {}\"]\nwords:\n  - cat\n  - dog\n  - 3.5\n", captions),
    "params": ("params.yaml", (ROOT / "params.yaml").read_bytes()[:4000], load_params),
    "npy embeddings": ("e.npy", npy(GRID), embeddings),
    "safetensors embeddings": ("e.safetensors", save({"embeddings": GRID, "ids": np.arange(6)}), embeddings),
    "npy artefact": ("a.npy", npy(GRID), array),
    "parquet artefact": ("a.parquet", parquet(NUMBERS, compression="zstd"), table),
    "CSV artefact": ("a.csv", pd.DataFrame(NUMBERS).to_csv(index=False).encode(), table),
    "JSON artefact": ("a.json", json.dumps(ANNOTATIONS, indent=2).encode(), read_json),
    **{f"{kind} image": (f"a.{kind}", content, image) for kind, content in pictures.WHOLE.items()},
    **{f"{kind} sample": ("a.png", content, image) for kind, content in SAMPLES.items()},
}  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files(kind, tmp_path):
    name, content, read = READERS[kind]
    path = tmp_path / name
    path.write_bytes(content)
    read(path) if kind != "params" else None  # the whole file must be good; of params it is a part, for speed

    assert_readable_or_one_line(path, content, read)


@pytest.mark.parametrize(("make", "source", "name"), [(as_shards, "webdataset", "0.tar"), (as_structs, "parquet", "")])
@pytest.mark.filterwarnings("ignore")
def test_damaged_containers(make, source, name, tmp_path):
    make(tmp_path / "all", SAMPLES)
    path = tmp_path / "all" / name if name else tmp_path / "all"
    content, read = path.read_bytes(), images(source)

    assert_readable_or_one_line(path, content, read)
