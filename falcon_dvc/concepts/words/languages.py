"""What is known of a language other than English: its spelling, its grammar words and its lemmas.

Lemmas are those of simplemma, grammar words those of the package stop-words. No tagger serves these languages. So every
word that is no grammar word counts, verbs too, and phrases are runs of such words.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Marks that belong to the letter before them (vowel signs of Hindi, points of Hebrew) and joiners inside a word (Persian).
# `\w` holds none of them. Marks for emoji (variation selectors, keycaps) are left out.
_BLOCKS = (*range(0x300, 0x3100), *range(0xA66F, 0xABEE), *range(0xFB1E, 0xFB1F), *range(0xFE20, 0xFE30))
MARKS = (
    "".join(chr(code) for code in _BLOCKS if unicodedata.category(chr(code))[0] == "M" and code != 0x20E3)
    + "\u200c\u200d"
)
# Soft hyphens, marks of direction and of emoji. They have no meaning for words, but would divide them.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufe00-\ufe0f\ufeff]")
_SPELLED = str.maketrans({"’": "'", "ʼ": "'", "‐": "-", "‑": "-"})
# Vowel points of Hebrew, vowel marks and lengthened letters of Arabic: most texts leave them out.
_POINTS = re.compile("[\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]")
# An article or pronoun before an apostrophe, as in l'homme.
_ELIDED = re.compile(
    r"\b(?:[cdjlmnstv]|(?:jusq|lorsq|puisq|quoiq|q)u|a?gl|(?:d[ae]|ne|su|co|a|que)ll|un|quest)'(?=\w)", re.I
)
_SUFFIX = re.compile(r"(?<=\w)'\w+")  # of a Turkish name
_TURKISH = str.maketrans({"İ": "i", "I": "ı"})
_ROMANIAN = str.maketrans("şţŞŢ", "șțȘȚ")  # cedilla and comma below are typed alike

_ELIDING = frozenset(["fr", "it", "ca", "pt", "gl", "ast"])
_POINTED = frozenset(["ar", "fa", "he"])
_CAPITAL_NOUNS = frozenset(["de", "lb"])
# Simplemma takes some singular nouns of these languages for verbs: "Boot" for "booten".
_GERMANIC = _CAPITAL_NOUNS | {"nl", "sv", "da", "nb", "nn"}

# Languages whose words no spaces divide.
UNSPACED = frozenset(["zh", "ja", "th", "km", "lo", "my"])
OTHER = "other"  # a language without lemmas and grammar words

_LISTED_AS = {"nn": "nb"}
# Grammar words that stop-words lacks. Its Greek list is of ancient Greek.
_MORE = {
    "ar": "إلى",
    "de": "neben beim ans aufs außer außerhalb innerhalb entlang gegenüber seit statt vorm zwei drei vier",
    "fr": "près côté",
    "he": "ליד שני שתי",
    "id": "dua tiga",
    "nl": "naast langs tussen achter twee drie vier",
    "ro": "și în lângă",
    "tr": "olan",
    "uk": "двоє біля",
    "el": "ο η το οι τα του της των τον την τους τις ένας ένα μια μία ενός μιας σε στο στη στην στον στους στις στα από με για "
    "και ή που πως να θα δεν μη είναι ήταν έχει έχουν είμαι έχω κοντά δίπλα πάνω κάτω μέσα έξω πίσω μπροστά ανάμεσα αυτό αυτή "
    "αυτός αυτά αυτοί όλα κάθε δύο όπως προς κατά μετά πριν χωρίς του τους",
}
# Listed words that also name what pictures show.
_THINGS = frozenset(
    [
        *("personne", "personnes", "pièce", "grande", "gente", "lavoro", "dag", "mare"),
        *("человек", "люди", "день", "людина", "घर", "يوم", "قط", "روز", "آقا"),
    ]
)


@lru_cache(maxsize=64)
def grammar_words(language: str) -> frozenset[str]:
    """List the articles, pronouns, prepositions and auxiliary verbs of a language; none if they are not known."""
    from stop_words import LANGUAGE_MAPPING, get_stop_words

    code = _LISTED_AS.get(language, language)
    listed = get_stop_words(code) if code in LANGUAGE_MAPPING and code != "el" else []
    words = {respelled(word.strip('",'), language) for word in [*listed, *_MORE.get(language, "").split()]}
    return frozenset(words - _THINGS)


def respelled(text: str, language: str) -> str:
    """Give each letter and word of a text one spelling.

    Letters are composed (NFC) and lower-case, but for languages that write nouns with a capital. Marks that do not show are
    dropped. Elided articles are divided from their noun, and suffixes of Turkish names are dropped.
    """
    text = visible(text).translate(_SPELLED)
    if language in _POINTED:
        text = _POINTS.sub("", text)
    if language in _ELIDING:
        text = _ELIDED.sub(" ' ", text)
    if language == "ro":
        text = text.translate(_ROMANIAN)
    if language == "tr":
        text = _SUFFIX.sub("", text).translate(_TURKISH)
    return text if language in _CAPITAL_NOUNS else text.lower()


def visible(text: str) -> str:
    """Compose letters with their accents (NFC), and drop characters that do not show."""
    return text if text.isascii() else _INVISIBLE.sub("", unicodedata.normalize("NFC", text))


def has_lemmas(language: str) -> bool:
    """Whether the dictionary forms of a language are known."""
    from simplemma.strategies.dictionaries.dictionary_factory import SUPPORTED_LANGUAGES

    return language in SUPPORTED_LANGUAGES


@lru_cache(maxsize=200_000)
def lemma_in(word: str, language: str) -> str:
    """Return the dictionary form of a respelled word, in lower case.

    A word of a language without dictionary is its own.
    """
    if not has_lemmas(language):
        return word
    found = _looked_up(word, language)
    return _noun(word, found, language) if language in _GERMANIC else found


def _looked_up(word: str, language: str) -> str:
    import simplemma

    return unicodedata.normalize("NFC", simplemma.lemmatize(word, lang=language).lower())


def _noun(word: str, found: str, language: str) -> str:
    """Correct the lemma of a Germanic noun.

    A capital may be that of the first word of a sentence: "Rotes" is "rot" and not "Rote". A lemma that extends its word, or
    of which the word is the lemma, is a verb or plural for a noun: "sneeuwen" for "sneeuw", "boten" for "boot".
    """
    low = word.lower()
    if word != low:
        other = _looked_up(low, language)
        found = other if found.startswith(other) else found
    swapped = len(low) <= len(found) and low == _looked_up(found, language)
    return low if found.startswith(low) or swapped else found


def content_word(token: str, language: str, discard: frozenset[str], min_word: int) -> str:
    """Return the lemma of a token, or nothing if it is a grammar word, discarded, too short, or not of letters."""
    if not is_letters(token):
        return ""
    forms = token.lower(), lemma_in(token, language)
    passed_over = grammar_words(language) | discard
    counts = all(len(form) >= min_word and form not in passed_over for form in forms)
    return forms[1] if counts else ""


_BETWEEN_LETTERS = re.compile(f"[-'’{MARKS}]")


def is_letters(token: str) -> bool:
    """Whether a token consists of letters, with marks, apostrophes and hyphens."""
    return _BETWEEN_LETTERS.sub("", token).isalpha()
