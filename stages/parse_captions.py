"""Words and noun phrases of every caption, once for the corpus (step 9); synonyms become one concept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from stages.common import files
from stages.common.artifacts import read_array, read_table, write_table
from stages.common.errors import UserError
from stages.common.progress import track
from stages.common.tables import safe_cell
from stages.method.synonyms import leaders
from stages.method.words import parse_corpus

if TYPE_CHECKING:
    from stages.common.params import Params, ParseCaptions


def run(params: Params) -> None:
    """Write ``data/mentions.parquet`` and the table of synonyms."""
    captions = read_table(files.CAPTIONS / "captions.parquet")
    settings = params.parse_captions
    pairs = zip(captions["caption"], track(captions["text"], "parsing captions", total=len(captions)), strict=True)
    mentions = pd.DataFrame(
        parse_corpus(pairs, frozenset(settings.discard), settings.min_word), columns=["caption", "kind", "mention"]
    )
    if mentions.empty:
        raise UserError(
            f"{params.data.captions}: no caption holds a noun, verb or adjective; check data.captions and parse_captions.discard"
        )
    concept = _concepts(captions["caption"].to_numpy(), mentions, settings)
    write_table(files.MENTIONS, mentions.assign(concept=concept))
    write_table(files.table("synonyms"), _synonyms(mentions.assign(concept=concept)))


def _concepts(captions: np.ndarray, mentions: pd.DataFrame, settings: ParseCaptions) -> np.ndarray:
    """The concept of each mention: the leading synonym of a word; a phrase as it stands."""
    words = (mentions["kind"] == "word").to_numpy()
    code, vocabulary = pd.factorize(mentions["mention"][words], sort=True)
    place = np.searchsorted(captions, mentions["caption"][words])
    incidence = sparse.csr_array((np.ones(len(code)), (place, code)), shape=(len(captions), len(vocabulary)))
    embeddings = read_array(files.CAPTIONS / "embeddings.npy")
    leader = leaders(embeddings, incidence, settings.synonym_similarity, settings.synonym_mentions)
    concept = mentions["mention"].to_numpy(dtype=object).copy()
    concept[words] = np.asarray(vocabulary)[leader[code]]
    return concept


def _synonyms(mentions: pd.DataFrame) -> pd.DataFrame:
    """One row a concept of several words, for people."""
    pairs = mentions.loc[mentions["kind"] == "word", ["concept", "mention"]].drop_duplicates()
    others = pairs[pairs["concept"] != pairs["mention"]].sort_values(["concept", "mention"])
    return others.groupby("concept")["mention"].agg("; ".join).map(safe_cell).rename("synonyms").reset_index()
