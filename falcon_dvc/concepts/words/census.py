"""Count the captions that are not in the language in which they are parsed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from falcon_dvc.concepts.words.languages import OTHER, grammar_words, has_lemmas, respelled
from falcon_dvc.concepts.words.scripts import is_undivided, script_of

SAMPLED = 20_000  # captions of a corpus whose language is looked for
MIXED = 0.05  # share of other languages, from which on they are named
CLEAR = 0.5  # least weight of the grammar words that tell the language of a caption

# Languages that are told apart, by the script of their letters.
_RECOGNISED: Mapping[str, tuple[str, ...]] = {
    "Latin": (
        *(
            "en",
            "fr",
            "de",
            "es",
            "it",
            "pt",
            "nl",
            "pl",
            "sv",
            "da",
            "nb",
            "cs",
            "sk",
            "ro",
            "hu",
            "fi",
            "tr",
            "id",
            "ca",
            "vi",
        ),
    ),
    "Cyrillic": ("ru", "uk", "bg"),
    "Arabic": ("ar", "fa"),
    "Greek": ("el",),
    "Hebrew": ("he",),
    "Devanagari": ("hi",),
    "Armenian": ("hy",),
    "Georgian": ("ka",),
    "Malayalam": ("ml",),
    "Gujarati": ("gu",),
    "Hangul": ("ko",),
    "Cjk": ("zh",),
    "Ideographic": ("zh",),
    "Hiragana": ("ja",),
    "Katakana": ("ja",),
    "Thai": ("th",),
    "Lao": ("lo",),
    "Khmer": ("km",),
    "Myanmar": ("my",),
}
_SCRIPTS = {"mk": ("Cyrillic",), "hbs": ("Latin", "Cyrillic"), "grc": ("Greek",), "ja": ("Hiragana", "Katakana", "Cjk")}
_WORD = re.compile(r"[^\W\d_]+")
# English words that tell English from other languages; the list of stop-words has words of other languages too.
_ENGLISH = frozenset(
    word
    for line in (
        "a an the of in on at by with and or for from to into near over under behind between is are was were be has have it its",
        "this that these those there his her their he she they you your we our who which while as up down out off two some not",
    )
    for word in line.split()
)


@dataclass(frozen=True)
class Census:
    """Numbers of captions: all, those of several words without spaces between, those whose language is told, by language.

    A language that is not known is counted by the name of its script.
    """

    captions: int
    undivided: int
    languages: Mapping[str, int]

    def others(self, language: str) -> dict[str, float]:
        """Return the shares of other languages among the captions whose language is told, largest first."""
        told = max(sum(self.languages.values()), 1)
        shares = {code: count / told for code, count in self.languages.items() if code != language}
        return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def count_languages(blocks: Iterable[list[str]], total: int, language: str) -> Census:
    """Count undivided captions among all, and languages in an even sample.

    Parameters
    ----------
    blocks : the captions, in any blocks.
    total : number of captions.
    language : code of the language in which they are parsed.
    """
    told: Counter[tuple[str, ...]] = Counter()
    captions = undivided = 0
    step = max(total // SAMPLED, 1)
    for texts in blocks:
        undivided += sum(map(is_undivided, texts))
        told.update(languages_of(text, language) for text in texts[-captions % step :: step])
        captions += len(texts)
    return Census(captions, undivided, _decided(told))


def _decided(told: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    """Count a caption that fits several languages for the one that most other captions are in."""
    sure = {codes[0]: count for codes, count in told.items() if len(codes) == 1}
    found: Counter[str] = Counter()
    for codes, count in told.items():
        if codes:
            found[max(codes, key=lambda code: sure.get(code, 0))] += count
    return dict(found)


def languages_of(caption: str, expected: str) -> tuple[str, ...]:
    """Tell the language of a caption from its script and grammar words.

    Returns
    -------
    The code, or those of all languages that fit best, without others if the expected one is among them. The name of a script
    with no known language. Nothing if no word tells the language.
    """
    script = script_of(caption)
    if not script or expected == OTHER:
        return ()
    candidates = _RECOGNISED.get(script, (script,))
    own = script in _scripts(expected)
    if own and (len(candidates) == 1 or expected not in candidates):
        return (expected,)  # the only one, or one whose grammar words are not known
    if len(candidates) == 1:
        return candidates
    return _by_grammar(caption, candidates, expected) or (() if own else candidates[:1])


def _scripts(language: str) -> tuple[str, ...]:
    """List the scripts in which a language is written."""
    known = tuple(script for script, codes in _RECOGNISED.items() if language in codes)
    return _SCRIPTS.get(language) or known or ("Latin",)


def _by_grammar(caption: str, candidates: tuple[str, ...], expected: str) -> tuple[str, ...]:
    """Choose the candidates with the most grammar words; one of several languages counts less, one of `expected` fully."""
    telling = {word: _languages_with(word, candidates, expected) for word in _words(caption)}
    weights: Counter[str] = Counter()
    for codes in telling.values():
        weights.update({code: 1 if code == expected else 1 / len(codes) for code in codes})
    most = max(weights.values(), default=0)
    best = tuple(code for code in candidates if weights[code] == most > 0)
    if expected in best:
        return (expected,)
    found = [word for word, codes in telling.items() if set(best) & set(codes)]
    return best if most >= CLEAR and (len(found) > 1 or not _is_known(found[0], expected)) else ()


def _words(caption: str) -> list[str]:
    return list(dict.fromkeys(_WORD.findall(respelled(caption, "fr"))))  # as French, to divide "l'homme"


def _languages_with(word: str, candidates: tuple[str, ...], expected: str) -> tuple[str, ...]:
    """List the candidates that have a grammar word. A single Latin letter tells nothing but the expected language."""
    alone = len(word) == 1 and word.isascii()
    return tuple(code for code in candidates if (code == expected or not alone) and word in _telling(code))


@lru_cache(maxsize=64)
def _telling(code: str) -> frozenset[str]:
    return _ENGLISH if code == "en" else frozenset(word.lower() for word in grammar_words(code))


def _is_known(word: str, language: str) -> bool:
    import simplemma

    return simplemma.is_known(word, language)


def refusal(census: Census) -> str:
    """Say why captions cannot be parsed, with the fix: no spaces divide the words of most of them. Nothing if they can be."""
    if 2 * census.undivided <= census.captions:
        return ""
    return (
        f"{census.undivided} of {census.captions} captions have no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, "
        "Burmese, Tibetan), so a whole caption would be one word; put spaces between the words, for instance with jieba, fugashi "
        "or pythainlp, and set parse_captions.language and min_word: 1, or use captions in another language"
    )


def lacking_in(census: Census, language: str) -> dict[str, Any]:
    """Return what captions and language lack, as metrics; nothing if they lack nothing.

    Returns
    -------
    ``undivided`` captions, shares of ``other_languages``, ``without_grammar_words`` and ``without_lemmas``.
    """
    others = census.others(language)
    found = {
        "undivided": census.undivided,
        "other_languages": others if sum(others.values()) >= MIXED else {},
        "without_grammar_words": int(language != "en" and not grammar_words(language)),
        "without_lemmas": int(not has_lemmas(language)),
    }
    return {name: value for name, value in found.items() if value}
