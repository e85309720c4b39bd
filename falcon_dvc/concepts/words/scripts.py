"""Tell scripts apart, and find captions whose words no spaces divide."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from unicodedata import name

# Chinese characters and kana; Thai, Lao, Tibetan, Burmese and Khmer.
_IDEOGRAPHS = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_SYLLABLES = "\u0e00-\u0e7f\u0e80-\u0eff\u0f40-\u0fbc\u1000-\u109f\u1780-\u17d3"
_UNSPACED = re.compile(f"[{_IDEOGRAPHS}{_SYLLABLES}]")
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")
# Letters and marks of a run without spaces, from which on it holds several words.
SEVERAL_IDEOGRAPHS, SEVERAL_SYLLABLES = 4, 10


def is_unspaced(text: str) -> bool:
    """Whether a text has letters of a script that puts no spaces between words."""
    return not text.isascii() and bool(_UNSPACED.search(text))


def is_undivided(caption: str) -> bool:
    """Whether most letters of a caption are of a script without spaces, and it holds several words without spaces between."""
    if not is_unspaced(caption):
        return False
    runs = [len(_UNSPACED.findall(run)) for run in caption.split()]
    ideographs, letters = len(_IDEOGRAPH.findall(caption)), sum(runs)
    several = SEVERAL_IDEOGRAPHS if 2 * ideographs >= letters else SEVERAL_SYLLABLES
    most = 2 * letters > sum(map(str.isalpha, caption))
    return most and letters / max(sum(run > 0 for run in runs), 1) >= several


def is_sentence(token: str) -> bool:
    """Whether a token without spaces is too long for a word."""
    return (
        len(_IDEOGRAPH.findall(token)) >= 2 * SEVERAL_IDEOGRAPHS
        or len(_UNSPACED.findall(token)) >= 2 * SEVERAL_SYLLABLES
    )


def script_of(text: str) -> str:
    """Name the script of most letters, as Unicode does; nothing if there is no letter."""
    found = Counter(_script(letter) for letter in text if letter.isalpha())
    return found.most_common(1)[0][0] if found else ""


@lru_cache(maxsize=100_000)
def _script(letter: str) -> str:
    return name(letter, "UNKNOWN").split(" ")[0].split("-")[0].capitalize()
