"""Accept captions and an image-text encoder of a notebook, and make a corpus of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from falcon_dvc.artifacts.shortfalls import of_words
from falcon_dvc.captions.corpus_file import CaptionsInMemory, clean_caption, is_missing
from falcon_dvc.captions.selection import select, selected
from falcon_dvc.concepts.scoring.corpus import Corpus, mentions_of
from falcon_dvc.concepts.words.census import count_languages, lacking_in, refusal
from falcon_dvc.concepts.words.mentions import as_codes, leading_synonyms, mention_table, with_concepts
from falcon_dvc.concepts.words.parsing import parse_captions
from falcon_dvc.embeddings import unit_rows
from falcon_dvc.errors import UserError
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import ParseCaptions

EMBEDDED_AT_ONCE = 4096
KINDS = "give (model, preprocess, tokenizer) of open_clip, an object with embed_images and embed_texts, or a pair of functions"
UNIT = 1e-4  # largest error of the length of a unit row


@dataclass(frozen=True)
class ImageText:
    """The two towers of an image-text encoder, as functions from a list to an array (items, dim)."""

    images: Callable[[list], np.ndarray]
    texts: Callable[[list[str]], np.ndarray]

    def embed_images(self, images: list) -> np.ndarray:
        """Return unit rows of pictures."""
        return _unit(self.images(images), len(images), "image")

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        """Return unit rows of texts, in blocks."""
        blocks = [texts[start : start + EMBEDDED_AT_ONCE] for start in range(0, len(texts), EMBEDDED_AT_ONCE)]
        tracked = track(blocks, "embedding captions", total=len(blocks))
        return np.concatenate([_unit(self.texts(block), len(block), "text") for block in tracked])


def _unit(rows: Any, count: int, what: str, argument: str = "image_text") -> np.ndarray:
    """Check embeddings and scale them to unit length; unit rows are not changed."""
    rows = np.asarray(rows.detach().cpu() if hasattr(rows, "detach") else rows)
    if rows.ndim != 2 or len(rows) != count or rows.dtype.kind != "f":
        raise UserError(
            f"{argument}: {rows.dtype} of shape {rows.shape} for {count} {what}s; give one row of numbers for each"
        )
    scaled, usable = unit_rows(rows)
    if not usable.all():
        raise UserError(f"{argument}: the embedding of a {what} is zero or not finite; check the encoder")
    return rows if np.abs(np.linalg.norm(rows, axis=1) - 1).max(initial=0) < UNIT else scaled


def image_text_of(given: Any) -> ImageText:
    """Accept an image-text encoder.

    Raises
    ------
    UserError
        If it is of another kind.
    """
    if hasattr(given, "embed_images") and hasattr(given, "embed_texts"):
        return ImageText(given.embed_images, given.embed_texts)
    if isinstance(given, (tuple, list)) and len(given) == 2 and all(map(callable, given)):
        return ImageText(*given)
    if isinstance(given, (tuple, list)) and len(given) == 3 and hasattr(given[0], "encode_image"):
        return _of_open_clip(*given)
    raise UserError(f"image_text: a {type(given).__name__}; {KINDS}")


def _of_open_clip(model: Any, preprocess: Callable, tokenizer: Callable) -> ImageText:
    from falcon_dvc.models.image_text.load import composed

    encoder = composed(model, preprocess, tokenizer, "in memory", str(next(model.parameters()).device))
    return ImageText(encoder.embed_images, encoder.embed_texts)


def listed(captions: Iterable[str]) -> list[str]:
    """Return captions as a list.

    Raises
    ------
    UserError
        If they are no texts.
    """
    if isinstance(captions, str) or not isinstance(captions, Iterable):
        raise UserError(f"captions: a {type(captions).__name__}; give a list of texts")
    texts = list(captions)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"captions: number {number} is a {type(text).__name__}; give a list of texts")
    return texts


def different_texts(captions: list[str]) -> pd.Series:
    """Clean captions and select the different texts, by number: the position of the caption in the list.

    Raises
    ------
    UserError
        If no caption has a text.
    """
    if all(is_missing(clean_caption(text)) for text in captions):
        raise UserError("captions: none has a text; give a list of sentences that may describe the images")
    source = CaptionsInMemory(captions)
    table = pa.concat_tables(selected(source, select(source), with_source=False))
    return pd.Series(table["text"].to_pylist(), index=table["caption"].to_numpy(), dtype=object)


def corpus_of(texts: pd.Series, embeddings: Any, count: int, image_text: ImageText, settings: ParseCaptions) -> Corpus:
    """Embed and parse captions, as the stages build_caption_index and parse_captions do.

    Parameters
    ----------
    texts : the different texts, as `different_texts` returns them.
    embeddings : (captions, dim) text embeddings of all captions, by the same encoder; None to compute them.
    count : number of all captions.

    Raises
    ------
    UserError
        If there is no word in any caption, no spaces divide their words, or the embeddings do not fit.
    """
    _warn_of_language(texts.tolist(), settings.language)
    numbers = texts.index.to_numpy()
    if embeddings is None:
        rows = image_text.embed_texts(texts.tolist())
    else:
        rows = _unit(embeddings, count, "caption", "caption_embeddings")[numbers]
    vocabulary, mentions = mentions_of(_mentions(texts, rows, settings), numbers)
    return Corpus(pd.DataFrame({"caption": numbers}), rows, vocabulary, mentions, "in memory")


def _mentions(texts: pd.Series, rows: np.ndarray, settings: ParseCaptions) -> pa.Table:
    """Find the concepts of each caption."""
    numbers = texts.index.to_numpy()
    mentioned = parse_captions(texts.tolist(), frozenset(settings.discard), settings.min_word, settings.language)
    if not len(mentioned):
        raise UserError("captions: none holds a noun, verb or adjective; check them and settings.parse_captions")
    table = mention_table(pa.array(numbers), mentioned)
    return as_codes(with_concepts(table, leading_synonyms(as_codes(table), numbers, rows, settings)))


def _warn_of_language(texts: list[str], language: str) -> None:
    """Refuse captions that cannot be parsed, and warn of those in another language than that of the settings."""
    census = count_languages([texts], len(texts), language)
    if why := refusal(census):
        raise UserError(f"captions: {why}")
    for sentence in of_words({"captions": len(texts), **lacking_in(census, language)}):
        warnings.warn(sentence.replace("parse_captions.", "settings.parse_captions."), stacklevel=4)
