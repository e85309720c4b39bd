"""Find the words and noun phrases of captions (step 9), once for the corpus.

One pass of a regular expression divides a block of captions into tokens. Each different token is classified once. A
second pass finds phrases in a string with one letter for each token. English words are tagged;
`falcon_dvc.concepts.words.languages` classifies those of other languages.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from falcon_dvc.concepts.words.languages import (
    MARKS,
    OTHER,
    UNSPACED,
    content_word,
    is_letters,
    lemma_in,
    respelled,
    visible,
)
from falcon_dvc.concepts.words.scripts import is_sentence, is_unspaced

if TYPE_CHECKING:
    import nltk
    from jaxtyping import Bool, Int

# A URL, a file name or a word with digits is never a concept. Letters of any script, with inner apostrophes and hyphens, may be.
# Most tokens are letters before a space, so this pattern comes first, for speed. A file name is only searched after a space, and
# if a dot comes before the next space. A search at every character would take quadratic time on a long text without dots.
_BETWEEN = "\n"  # stands between two captions
_WORD = rf"[^\W_]+(?:[{MARKS}]++[^\W_]*+)*"
_TOKEN = re.compile(
    r"[a-z]++(?=\s)|\n|https?://\S+|www\.\S+|(?<!\S)(?=[^\s.]*+\.)\S+\.(?:jpe?g|png|gif|com|net|org)\b"
    rf"|{_WORD}(?:['’-]{_WORD})*|[^\w\s]|_+"
)
_ENTRY = re.compile(r"^(?!;;;)[^\S\n]*(\S+)[^\S\n]+(\S+)", re.MULTILINE)  # of the lexicon: a word and its tag
_CONTENT = ("NN", "VB", "JJ")
# Verbs and nouns without content, and words that the lexicon tags as verbs or nouns.
_STOP = frozenset(
    [
        "be",
        "is",
        "are",
        "was",
        "were",
        "been",
        "being",
        "am",
        "have",
        "has",
        "had",
        "having",
        "do",
        "does",
        "did",
        "can",
        "could",
        "will",
        "would",
        "shall",
        "should",
        "may",
        "might",
        "must",
        "get",
        "gets",
        "got",
        "there",
        "here",
        "this",
        "that",
        "these",
        "those",
        "some",
        "any",
        "such",
        "other",
        "another",
        "one",
        "two",
        "three",
        "thing",
        "something",
        "lot",
        "many",
        "much",
        "more",
        "most",
        "very",
        "also",
        "front",
        "back",
        "top",
        "side",
    ]
)
# One letter stands for a token: noun, adjective or participle, other verb, no content, end of a caption.
_NOUN, _BEFORE, _VERB, _NO_CONTENT, _END = b"NAV-|"
# Two or more adjectives and nouns that end in a noun; a token without content ends a phrase.
_PHRASE = re.compile(rb"A+N+|NN+")
_RUN = re.compile(rb"(?<!N)N{2,3}(?!N)")  # a phrase of a language without tags
ENGLISH = "en"


@lru_cache(maxsize=1)
def _tagger() -> nltk.TaggerI:
    """Build a tagger: the most frequent tag of a word in TextBlob's lexicon.

    Unknown words are tagged by their ending, else as nouns.
    """
    nltk = _import_nltk()
    endings = nltk.RegexpTagger(
        [
            (r".*ing$", "VBG"),
            (r".*ed$", "VBN"),
            (r".*(?:ous|ful|less|able|ish|ive|y)$", "JJ"),
            (r".*s$", "NNS"),
            (r".*", "NN"),
        ]
    )
    return nltk.UnigramTagger(model=_lexicon(), backoff=endings)


def _import_nltk() -> ModuleType:
    """Import NLTK without scikit-learn, which NLTK imports where it finds it, for a class that nothing here uses.

    NLTK takes half a second, so only stages that parse words import it; scikit-learn takes a second and 60 MB more.
    """
    if "sklearn" in sys.modules:
        return importlib.import_module("nltk")
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # Python then refuses the import
    try:
        return importlib.import_module("nltk")
    finally:
        del sys.modules["sklearn"]


@lru_cache(maxsize=1)
def _lexicon() -> dict[str, str]:
    """Read the 94 118 tagged words of TextBlob in lower case.

    If two entries differ in case only, the lower-case entry counts.
    """
    folder = find_spec("textblob").submodule_search_locations[0]  # type: ignore[union-attr, index]
    text = Path(folder, "en/en-lexicon.txt").read_text(
        encoding="utf-8"
    )  # without the import of textblob, which takes a second
    entries = _ENTRY.findall(text)
    return {word.lower(): tag for word, tag in entries} | {word: tag for word, tag in entries if word == word.lower()}


@lru_cache(maxsize=200_000)
def lemma(word: str, tag: str) -> str:
    """Return the dictionary form of a lower-case English word.

    Nouns become singular, verbs infinitive. Adjectives stay unchanged.
    """
    if tag.startswith("JJ"):
        return word
    import simplemma  # takes a tenth of a second, see _tagger

    lemmatised = simplemma.lemmatize(word, lang="en").lower()
    # simplemma's list has "playe" for "playing" and "mixe" for "mixed".
    misspelt = lemmatised.endswith("e") and lemmatised not in _lexicon() and lemmatised[:-1] in _lexicon()
    return lemmatised[:-1] if misspelt else lemmatised


def known_form(word: str, language: str) -> str:
    """Return the form in which captions of a language have a word, taken for a noun."""
    respelt = respelled(word, language)
    if language == ENGLISH:
        return lemma(respelt, "NN")
    return lemma_in(next(reversed(respelt.split()), word), language)  # without an article, as in l'homme


def tagged(caption: str) -> list[tuple[str, str]]:
    """Tag the lower-case tokens of an English caption with their part of speech."""
    tokens = [token for token in _tokens([caption], ENGLISH) if token != _BETWEEN]
    return _tagger().tag(tokens) if tokens else []


def _tokens(captions: Sequence[str], language: str) -> list[str]:
    """Split captions into tokens, with `_BETWEEN` between two captions.

    A line break inside a caption is read as a space.
    """
    lines = [visible(text).replace(_BETWEEN, " ") for text in captions]
    text = _BETWEEN.join(lines)
    return _TOKEN.findall(text.lower() if language == ENGLISH else respelled(text, language))


def is_content(token: str, tag: str, discard: frozenset[str], min_word: int) -> bool:
    """Decide whether an English token is a noun, verb or adjective without digits that counts.

    Neither the token nor its lemma may be shorter than `min_word` or on the discard list.
    """
    if not (tag.startswith(_CONTENT) and is_letters(token)):
        return False
    return all(
        len(form) >= min_word and form not in _STOP and form not in discard for form in (token, lemma(token, tag))
    )


@lru_cache(maxsize=200_000)
def _read(token: str, discard: frozenset[str], min_word: int, language: str) -> tuple[int, str]:
    """Return the letter that stands for a token, and its lemma."""
    if token == _BETWEEN:
        return _END, ""
    if _is_undivided(token, language):
        return _NO_CONTENT, ""
    if language != ENGLISH:
        word = content_word(token, language, discard, min_word)
        return (_NOUN, word) if word else (_NO_CONTENT, "")
    return _read_english(token, discard, min_word)


def _is_undivided(token: str, language: str) -> bool:
    """Whether a token holds letters of a script without spaces, and may be several words."""
    return is_unspaced(token) and (language not in UNSPACED | {OTHER} or is_sentence(token))


def _read_english(token: str, discard: frozenset[str], min_word: int) -> tuple[int, str]:
    ((_, tag),) = _tagger().tag([token])
    if not is_content(token, tag, discard, min_word):
        return _NO_CONTENT, ""
    before = tag.startswith("JJ") or tag in ("VBN", "VBG")
    return _NOUN if tag.startswith("NN") else _BEFORE if before else _VERB, lemma(token, tag)


@dataclass(frozen=True)
class Mentioned:
    """Hold the words (lemmas) and noun phrases of captions, each once for a caption.

    Words come before phrases, in order of appearance.

    Attributes
    ----------
    caption : place of the caption among those parsed, ascending.
    phrase : True for a noun phrase.
    concept : place in `vocabulary`.
    vocabulary : the different words and phrases.
    """

    caption: Int[np.ndarray, " mentions"]
    phrase: Bool[np.ndarray, " mentions"]
    concept: Int[np.ndarray, " mentions"]
    vocabulary: list[str]

    def __len__(self) -> int:
        return len(self.caption)


def parse_captions(
    captions: Sequence[str], discard: frozenset[str] = frozenset(), min_word: int = 3, language: str = ENGLISH
) -> Mentioned:
    """Find the words and noun phrases of each caption.

    Parameters
    ----------
    captions : any texts.
    discard : words that are never concepts, in lower case.
    min_word : smallest number of letters (released: words of two letters or fewer are dropped).
    language : code of the captions' language.
    """
    tokens = _tokens(captions, language)
    place = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    read = [_read(token, discard, min_word, language) for token in place]
    token = np.fromiter(map(place.__getitem__, tokens), dtype=np.int64, count=len(tokens))
    letters = np.array([letter for letter, _ in read], dtype=np.uint8)[token]
    concepts: dict[str, int] = {}
    words = _numbered(concepts, [form for _, form in read])[token]
    is_word = np.flatnonzero((letters != _NO_CONTENT) & (letters != _END))
    spans = [match.span() for match in (_PHRASE if language == ENGLISH else _RUN).finditer(letters.tobytes())]
    before = tokens if language == ENGLISH else [read[number][1] for number in token]
    phrases = _numbered(
        concepts, [" ".join([*before[start : end - 1], read[token[end - 1]][1]]) for start, end in spans]
    )
    starts = np.array([start for start, _ in spans], dtype=np.int64)
    caption = np.cumsum(letters == _END)
    return _each_once(
        np.concatenate([caption[is_word], caption[starts]]),
        np.repeat([False, True], [len(is_word), len(starts)]),
        np.concatenate([words[is_word], phrases]),
        list(concepts),
    )


def given_words(words: Sequence[str]) -> Mentioned:
    """Take the only word or phrase of each caption as it is, whatever a parser would make of it.

    Parameters
    ----------
    words : one for each caption; one that contains a space is a phrase.
    """
    concepts: dict[str, int] = {}
    concept = _numbered(concepts, list(words))
    phrase = np.array([" " in word for word in words], dtype=bool)
    return Mentioned(np.arange(len(words)), phrase, concept, list(concepts))


def _numbered(concepts: dict[str, int], texts: list[str]) -> Int[np.ndarray, " texts"]:
    """Return the number of each text; new texts get new numbers."""
    return np.array([concepts.setdefault(text, len(concepts)) for text in texts], dtype=np.int64)


def _each_once(caption: np.ndarray, phrase: np.ndarray, concept: np.ndarray, vocabulary: list[str]) -> Mentioned:
    """Keep the first of equal mentions in a caption, sorted by caption, words first."""
    mention = (caption * 2 + phrase) * max(len(vocabulary), 1) + concept
    first = np.sort(np.unique(mention, return_index=True)[1])
    order = first[np.argsort(caption[first] * 2 + phrase[first], kind="stable")]
    return Mentioned(caption[order], phrase[order], concept[order], vocabulary)


def concepts_of(caption: str, discard: frozenset[str] = frozenset(), min_word: int = 3) -> tuple[list[str], list[str]]:
    """Find the words and noun phrases of one English caption, as `parse_captions` does."""
    mentions = parse_captions([caption], discard, min_word)
    texts = np.array(mentions.vocabulary, dtype=object)[mentions.concept]
    return texts[~mentions.phrase].tolist(), texts[mentions.phrase].tolist()
