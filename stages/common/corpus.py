"""The caption index as the method wants it: shards of embeddings, and which concepts each caption mentions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from stages.common import files
from stages.common.artifacts import read_array, read_json, read_table
from stages.common.errors import UserError
from stages.method.concepts import Mentions
from stages.method.explanation import Settings
from stages.method.retrieval import Shard

if TYPE_CHECKING:
    from stages.common.params import Concepts

CAPTIONS_AT_ONCE = 16_384  # of the index in memory, with their cosines to all crops


@dataclass(frozen=True)
class Corpus:
    """Captions, their embeddings (memory-mapped), and the vocabulary of concepts."""

    captions: pd.DataFrame
    embeddings: np.ndarray
    vocabulary: np.ndarray
    mentions: Mentions
    image_text: str

    def shards(self, count: int | None = None) -> Iterator[Shard]:
        """The embeddings in parts: `count` equal ones, or as many as memory allows."""
        ids, total = self.captions["caption"].to_numpy(), len(self.captions)
        size = -(-total // count) if count else CAPTIONS_AT_ONCE
        for start in range(0, total, size):
            yield ids[start : start + size], self.embeddings[start : start + size]


def read_corpus() -> Corpus:
    """Open what `build_caption_index` and `parse_captions` wrote."""
    captions = read_table(files.CAPTIONS / "captions.parquet")
    embeddings = read_array(files.CAPTIONS / "embeddings.npy")
    if len(captions) != len(embeddings):
        raise UserError(
            f"{files.CAPTIONS}: {len(captions)} captions but {len(embeddings)} embeddings; run `dvc repro -f build_caption_index`"
        )
    vocabulary, mentions = _mentions(captions["caption"].to_numpy(), read_table(files.MENTIONS))
    return Corpus(captions, embeddings, vocabulary, mentions, read_json(files.CAPTIONS / "index.json")["image_text"])


def _mentions(captions: np.ndarray, table: pd.DataFrame) -> tuple[np.ndarray, Mentions]:
    """Concepts in alphabetical order (phrases after words) and the incidence matrix."""
    table = table.drop_duplicates(["caption", "kind", "concept"])
    names = table[["kind", "concept"]].drop_duplicates().sort_values(["kind", "concept"], ascending=[False, True])
    concept = pd.MultiIndex.from_frame(names).get_indexer(pd.MultiIndex.from_frame(table[["kind", "concept"]]))
    caption = np.searchsorted(captions, table["caption"].to_numpy())
    incidence = sparse.csr_array((np.ones(len(table)), (caption, concept)), shape=(len(captions), len(names)))
    return names["concept"].to_numpy(), Mentions(captions, incidence, (names["kind"] == "phrase").to_numpy())


def settings_of(params: Concepts) -> Settings:
    """The method's constants, from params.yaml."""
    return Settings(
        captions_per_image=params.captions_per_image,
        temperature=params.temperature,
        normaliser=params.normaliser,
        contrast=params.contrast,
        low_cut=params.low_cut,
        relative_cut=params.relative_cut,
        gamma=params.gamma,
        top=params.top,
    )
