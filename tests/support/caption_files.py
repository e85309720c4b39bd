"""Files of captions in every format that is read, and the params that point to them."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from falcon_dvc.captions.formats import open_captions
from falcon_dvc.captions.selection import cleaned


def write_shard(folder, number, texts, embeddings, column="caption", divided=False):
    metadata, text_emb = (folder / "metadata", folder / "text_emb") if divided else (folder, folder)
    for one in (metadata, text_emb):
        one.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"url": ["x"] * len(texts), column: texts}), metadata / f"metadata_{number}.parquet")
    np.save(text_emb / f"text_emb_{number}.npy", embeddings)


def rows_for(texts, dim=4, dtype=np.float16):
    """An embedding for each text that says which row it is."""
    return (np.arange(1, len(texts) + 1)[:, None] ** np.arange(dim)).astype(dtype)


def write_csv(path, texts, separator=",", column="caption"):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(["url", column, "height"])
        writer.writerows([f"https://x/{number}", text, number] for number, text in enumerate(texts))


def write_parquet(path, texts, column="caption", kind=None):
    pq.write_table(pa.table({"key": range(len(texts)), column: pa.array(texts, kind)}), path, row_group_size=5)


def write_jsonl(path, texts, column="caption"):
    path.write_text("".join(json.dumps({"key": 1, column: text}) + "\n" for text in texts), encoding="utf-8")


def write_coco(path, texts, ids=None):
    ids = range(len(texts)) if ids is None else ids
    annotations = [{"image_id": 1, "id": one, "caption": text} for one, text in zip(ids, texts, strict=True)]
    path.write_text(json.dumps({"images": [], "annotations": annotations}), encoding="utf-8")


def data(path, **given):
    params = {"caption_format": "auto", "caption_column": "", "caption_embeddings": ""}
    return SimpleNamespace(captions=str(path), **{**params, **given})


def texts_of(path, **given):
    return [text for batch in open_captions(data(path, **given)).batches() for text in cleaned(batch)]
