"""Words and noun phrases of every caption, once for the corpus (step 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from stages.common import files
from stages.common.artifacts import read_table, write_table
from stages.common.errors import UserError
from stages.common.progress import track
from stages.method.words import parse_corpus

if TYPE_CHECKING:
    from stages.common.params import Params


def run(params: Params) -> None:
    """Write ``data/mentions.parquet``."""
    captions = read_table(files.CAPTIONS / "captions.parquet")
    settings = params.parse_captions
    pairs = zip(captions["caption"], track(captions["text"], "parsing captions", total=len(captions)), strict=True)
    mentions = pd.DataFrame(
        parse_corpus(pairs, frozenset(settings.discard), settings.min_word), columns=["caption", "kind", "concept"]
    )
    if mentions.empty:
        raise UserError(
            f"{params.data.captions}: no caption holds a noun, verb or adjective; check data.captions and parse_captions.discard"
        )
    write_table(files.MENTIONS, mentions)
