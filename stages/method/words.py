"""Words and noun phrases of a caption (step 9), parsed once for the corpus."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.resources import files

import nltk
import simplemma

# A URL, a file name or a word with digits is never a concept; letters of any script, with inner apostrophes and hyphens, are.
# A file name is looked for only after a space: at every character it would take quadratic time on a long text without one.
_WORD = re.compile(
    r"https?://\S+|www\.\S+|(?<!\S)\S+\.(?:jpe?g|png|gif|com|net|org)\b|[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]|_+",
    re.IGNORECASE,
)
_CONTENT = ("NN", "VB", "JJ")
_NO_CONTENT = "-"  # tag of everything else: no part of a phrase
# Verbs and nouns that carry no content, and what the lexicon tags as such.
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
_PHRASE = nltk.RegexpParser("NP: {<JJ.*|VBN|VBG>*<NN.*>+}")


@lru_cache(maxsize=1)
def _tagger() -> nltk.TaggerI:
    """Most frequent tag of a word in TextBlob's lexicon; unknown words by their ending, else noun."""
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


@lru_cache(maxsize=1)
def _lexicon() -> dict[str, str]:
    """The 94 118 tagged words that TextBlob ships, lower-cased; the lower-case entry counts where both exist."""
    text = files("textblob").joinpath("en/en-lexicon.txt").read_text(encoding="utf-8")
    entries = [line.split() for line in text.splitlines() if line and not line.startswith(";;;")]
    entries = [entry for entry in entries if len(entry) >= 2]
    capitalised = {word.lower(): tag for word, tag, *_ in entries}
    return capitalised | {word: tag for word, tag, *_ in entries if word == word.lower()}


@lru_cache(maxsize=200_000)
def lemma(word: str, tag: str) -> str:
    """Dictionary form of a lower-case word: nouns in the singular, verbs in the infinitive, adjectives as they are."""
    if tag.startswith("JJ"):
        return word
    found = simplemma.lemmatize(word, lang="en").lower()
    # simplemma's list has "playe" for "playing" and "mixe" for "mixed".
    misspelt = found.endswith("e") and found not in _lexicon() and found[:-1] in _lexicon()
    return found[:-1] if misspelt else found


def tagged(caption: str) -> list[tuple[str, str]]:
    """Lower-case tokens with their part of speech."""
    tokens = _WORD.findall(unicodedata.normalize("NFC", caption).lower())
    return _tagger().tag(tokens) if tokens else []


def is_content(token: str, tag: str, discard: frozenset[str], min_word: int) -> bool:
    """Nouns, verbs and adjectives without digits; neither they nor their lemma is shorter than `min_word` or on the discard list."""
    letters = token.replace("-", "").replace("'", "").replace("’", "")
    if not (tag.startswith(_CONTENT) and letters.isalpha()):
        return False
    return all(
        len(form) >= min_word and form not in _STOP and form not in discard for form in (token, lemma(token, tag))
    )


def concepts_of(caption: str, discard: frozenset[str] = frozenset(), min_word: int = 3) -> tuple[list[str], list[str]]:
    """Words (lemmas) and noun phrases of one caption, each once, in order of appearance.

    Parameters
    ----------
    caption : any text.
    discard : words that are never concepts, in lower case.
    min_word : letters (released: words of two letters or fewer are dropped).
    """
    tokens = [
        (token, tag if is_content(token, tag, discard, min_word) else _NO_CONTENT) for token, tag in tagged(caption)
    ]
    words = [lemma(token, tag) for token, tag in tokens if tag != _NO_CONTENT]
    return list(dict.fromkeys(words)), list(dict.fromkeys(_phrases(tokens)))


def _phrases(tokens: list[tuple[str, str]]) -> Iterator[str]:
    """Adjectives and nouns that end in a noun, cut where a token is no content; two words or more."""
    if not tokens:
        return
    for chunk in _PHRASE.parse(tokens).subtrees(lambda tree: tree.label() == "NP"):
        *before, (head, tag) = chunk.leaves()
        if before:
            yield " ".join([token for token, _ in before] + [lemma(head, tag)])


def parse_corpus(
    captions: Iterable[tuple[int, str]], discard: frozenset[str] = frozenset(), min_word: int = 3
) -> Iterator[tuple[int, str, str]]:
    """Rows (caption id, "word" or "phrase", concept) of a corpus."""
    for caption, text in captions:
        words, phrases = concepts_of(text, discard, min_word)
        yield from ((caption, "word", word) for word in words)
        yield from ((caption, "phrase", phrase) for phrase in phrases)
