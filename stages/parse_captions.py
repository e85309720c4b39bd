"""Find the words and noun phrases of every caption, once for the corpus; merge synonyms into one concept (step 9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_json, write_table
from falcon_dvc.artifacts.shortfalls import FEW_WORDS, of_words
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.resume import resumable
from falcon_dvc.concepts.retrieval.index import naming, read_captions, read_columns
from falcon_dvc.concepts.retrieval.parquet_stream import table_in_parts
from falcon_dvc.concepts.words.census import count_languages, lacking_in, refusal
from falcon_dvc.concepts.words.mentions import PARSED, leading_synonyms, mention_table, with_concepts
from falcon_dvc.concepts.words.parsing import Mentioned, given_words, parse_captions
from falcon_dvc.errors import UserError
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from pathlib import Path

    from falcon_dvc.params.schema import Params, ParseCaptions

TABLE = paths.CAPTIONS / "captions.parquet"
CAPTIONS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Parsed:
    """Count the captions that were read, those with a word or phrase, the mentions, and different words up to `FEW_WORDS`."""

    captions: int
    with_words: int
    mentions: int
    words: int


def run(params: Params) -> StageSummary:
    """Write ``data/mentions.parquet``, the table of synonyms and the counts."""
    lacking = {} if _has_words() else _lacking(params)
    with resumable("parse_captions") as work:
        parsed = work.folder / "parsed.parquet"
        counts = _parse(parsed, params.parse_captions)
        if counts.mentions == 0:
            raise UserError(
                f"{params.data.captions}: no caption holds a noun, verb or adjective that parse_captions.discard and min_word leave "
                f"({counts.captions} captions were read); check data.captions, or shorten parse_captions.discard"
            )
        concepts = _concepts(parsed, params.parse_captions)
        _write_mentions(parsed, concepts)
    few = {"different_words": counts.words} if counts.words < FEW_WORDS else {}
    synonyms, summary = _synonyms(concepts), _summary(counts, {**few, **lacking})
    write_table(paths.table("synonyms"), synonyms)
    of_several = {"mentions": counts.mentions, "concepts_of_several_words": len(synonyms)}
    write_json(
        paths.metrics("parsed"), {"captions": counts.captions, **of_several, **few, **lacking, **summary.metrics}
    )
    return summary


def _lacking(params: Params) -> dict[str, Any]:
    """Say what the captions lack in the language of the params.

    Raises
    ------
    UserError
        If most of them cannot be divided into words.
    """
    language = params.parse_captions.language
    census = count_languages((texts for _, texts in _captions("reading languages")), _rows(), language)
    if why := refusal(census):
        raise UserError(f"{params.data.captions}: {why}")
    return lacking_in(census, language)


def _has_words() -> bool:
    """Return whether the corpus is a vocabulary, whose entries are the concepts."""
    with naming(TABLE):
        return "word" in pq.read_schema(TABLE).names


def _summary(counts: Parsed, lacking: dict[str, Any]) -> StageSummary:
    return StageSummary(
        read={"captions": counts.captions},
        dropped={"captions": {"without a noun, verb or adjective that counts": counts.captions - counts.with_words}},
        wrote={f"rows to {paths.MENTIONS}": counts.mentions},
        lacking=of_words({"captions": counts.captions, **lacking}),
    )


def _parse(parsed: Path, settings: ParseCaptions) -> Parsed:
    """Write the mentions of all captions, one block of the corpus at a time."""
    read = with_words = mentions = 0
    words: set[str] = set()
    with table_in_parts(parsed, PARSED) as writer:
        for captions, mentioned in _mentioned(settings):
            writer.write_table(mention_table(captions, mentioned))
            read, mentions = read + len(captions), mentions + len(mentioned)
            with_words += len(np.unique(mentioned.caption))
            if len(words) < FEW_WORDS:
                words.update(mentioned.vocabulary[number] for number in np.unique(mentioned.concept[~mentioned.phrase]))
    return Parsed(read, with_words, mentions, min(len(words), FEW_WORDS))


def _mentioned(settings: ParseCaptions) -> Iterator[tuple[pa.Array, Mentioned]]:
    """Yield numbers and mentions of the captions, in blocks: the entries of a vocabulary, or what a parser finds."""
    if _has_words():
        yield from ((captions, given_words(words)) for captions, words in _captions("reading words", "word"))
        return
    for captions, texts in _captions("parsing captions"):
        yield captions, parse_captions(texts, frozenset(settings.discard), settings.min_word, settings.language)


def _rows() -> int:
    """Return the number of captions."""
    with naming(TABLE), pq.ParquetFile(TABLE) as table:
        return table.metadata.num_rows


def _captions(task: str, column: str = "text") -> Iterator[tuple[pa.Array, list[str]]]:
    """Yield numbers and texts of the captions, in blocks; or a vocabulary's words."""
    with naming(TABLE), pq.ParquetFile(TABLE) as table:
        blocks = table.iter_batches(CAPTIONS_AT_ONCE, columns=["caption", column])
        for block in track(blocks, task, total=-(-table.metadata.num_rows // CAPTIONS_AT_ONCE)):
            yield block["caption"], block[column].to_pylist()


def _concepts(parsed: Path, settings: ParseCaptions) -> dict[str, str]:
    """Find the leading synonym of each word that does not lead itself; the words of a vocabulary all do."""
    if _has_words():
        return {}
    captions, embeddings, _ = read_captions()
    numbers = captions["caption"].to_numpy()
    return leading_synonyms(read_columns(parsed, ["caption", "kind", "mention"]), numbers, embeddings, settings)


def _write_mentions(parsed: Path, concepts: dict[str, str]) -> None:
    """Write the mentions with their concepts."""
    schema = PARSED.append(pa.field("concept", pa.string()))
    with pq.ParquetFile(parsed) as table, table_in_parts(paths.MENTIONS, schema) as writer:
        for number in range(table.num_row_groups):
            writer.write_table(with_concepts(table.read_row_group(number), concepts).cast(schema))


def _synonyms(concepts: dict[str, str]) -> pd.DataFrame:
    """List the concepts of several words, one row for each, as a table for readers."""
    pairs = pd.DataFrame({"concept": concepts.values(), "mention": concepts.keys()}, dtype=object)
    others = pairs.sort_values(["concept", "mention"])
    return others.groupby("concept")["mention"].agg("; ".join).rename("synonyms").reset_index()
