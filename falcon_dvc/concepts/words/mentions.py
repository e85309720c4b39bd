"""Build the tables of mentions: which words and phrases each caption has, and which concept each word stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from falcon_dvc.concepts.retrieval.index import factorised, occurring
from falcon_dvc.concepts.words.parsing import Mentioned
from falcon_dvc.concepts.words.synonyms import leaders

if TYPE_CHECKING:
    from falcon_dvc.embeddings import Rows
    from falcon_dvc.params.schema import ParseCaptions

PARSED = pa.schema([("caption", pa.int64()), ("kind", pa.string()), ("mention", pa.string())])


def mention_table(captions: pa.Array, mentioned: Mentioned) -> pa.Table:
    """Build the table of mentions of a block of captions.

    Parameters
    ----------
    captions : numbers of the captions that were parsed.
    mentioned : their words and phrases.
    """
    kind = pa.array(["word", "phrase"]).take(pa.array(mentioned.phrase.astype(np.int64)))
    mention = pa.array(mentioned.vocabulary, pa.string()).take(pa.array(mentioned.concept))
    return pa.table([captions.take(pa.array(mentioned.caption)), kind, mention], schema=PARSED)


def leading_synonyms(
    mentions: pa.Table, captions: np.ndarray, embeddings: Rows, settings: ParseCaptions
) -> dict[str, str]:
    """Find the leading synonym of each word that does not lead itself.

    Parameters
    ----------
    mentions : columns ``caption``, ``kind``, ``mention``; texts as codes.
    captions : (captions,) numbers of all captions, ascending.
    embeddings : (captions, dim) their text embeddings.
    """
    mentions = mentions.filter(pc.equal(mentions["kind"].cast(pa.string()), "word"))
    numbers, texts = factorised(mentions["mention"])
    different, code = occurring(numbers, len(texts))
    place = np.searchsorted(captions, mentions["caption"].to_numpy())
    incidence = sparse.csr_array((np.ones(len(code)), (place, code)), shape=(len(captions), len(different)))
    leader = leaders(embeddings, incidence, settings.synonym_similarity, settings.synonym_mentions)
    vocabulary = texts[different]
    following = np.flatnonzero(leader != np.arange(len(leader)))
    return dict(zip(vocabulary[following], vocabulary[leader[following]], strict=True))


def with_concepts(mentions: pa.Table, concepts: dict[str, str]) -> pa.Table:
    """Append the concept of each mention: the leading synonym of a word; a phrase is its own concept."""
    mention = mentions["mention"].to_pandas()
    leading = mention.map(concepts).where(mentions["kind"].to_pandas() == "word").fillna(mention)
    return mentions.append_column("concept", pa.array(leading, pa.string()))


def as_codes(mentions: pa.Table) -> pa.Table:
    """Encode the texts of a table in memory as codes, as tables are read from files."""
    texts = [field.name for field in mentions.schema if pa.types.is_string(field.type)]
    for name in texts:
        place = mentions.schema.get_field_index(name)
        mentions = mentions.set_column(place, name, pc.dictionary_encode(mentions[name]))
    return mentions
