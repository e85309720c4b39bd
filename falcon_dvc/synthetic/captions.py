"""Captions of the synthetic data set: a small grammar with synonyms, and the typical noise of a web corpus.

A caption mentions some of a scene's attributes in one of several sentence forms. The corpus adds near-duplicates,
captions of things that occur in no image, and junk such as file names and shop slogans.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

NOUNS: dict[str, tuple[str, ...]] = {
    "boat": ("boat", "ship", "vessel"),
    "truck": ("truck", "pickup"),
    "car": ("car", "automobile", "sedan"),
    "house": ("house", "cottage"),
    "tree": ("tree", "pine"),
    "fish": ("fish", "trout"),
    "bird": ("bird", "sparrow"),
    "star": ("star",),
    "heart": ("heart",),
    "umbrella": ("umbrella", "parasol"),
    "mushroom": ("mushroom", "fungus"),
    "key": ("key",),
    "cup": ("cup", "mug"),
    "flower": ("flower", "daisy"),
    "crown": ("crown",),
    "bottle": ("bottle", "flask"),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "amber"),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "turquoise": ("turquoise", "teal"),
    "blue": ("blue", "azure"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rosy"),
}
# Adjectives, then phrases that follow the noun.
TEXTURE_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plain": (("plain", "solid"), ()),
    "striped": (("striped",), ("with stripes",)),
    "dotted": (("dotted", "spotted"), ("with dots", "with spots")),
    "checkered": (("checkered", "checked"), ("with checks",)),
}
# Location of the object, and the ground as a noun phrase.
GROUND_PHRASES: dict[str, tuple[tuple[str, str], ...]] = {
    "grass": (
        ("on grass", "grass"),
        ("on the grass", "the grass"),
        ("in a meadow", "a meadow"),
        ("on a lawn", "a lawn"),
    ),
    "water": (("on water", "water"), ("in the water", "the water"), ("on the sea", "the sea"), ("on a lake", "a lake")),
    "sand": (
        ("on sand", "sand"),
        ("in the sand", "the sand"),
        ("on a beach", "a beach"),
        ("in the desert", "the desert"),
    ),
    "snow": (("on snow", "snow"), ("in the snow", "the snow"), ("on ice", "ice")),
    "brick": (("on brick", "brick"), ("on a brick wall", "a brick wall"), ("in front of a wall", "a wall")),
    "night": (
        ("at night", "night"),
        ("in the night", "the night"),
        ("in the night sky", "the night sky"),
        ("in the sky", "the sky"),
    ),
    "wood": (("on wood", "wood"), ("on the wood", "the wood"), ("on timber", "timber"), ("on planks", "planks")),
    "gravel": (
        ("on gravel", "gravel"),
        ("on the gravel", "the gravel"),
        ("on pebbles", "pebbles"),
        ("on stones", "stones"),
    ),
}
POSITION_PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("on the left",),
    "right": ("on the right",),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
    "centre": ("in the centre", "in the middle"),
}
# Words and noun phrases that name a value, as singular lemmas, the value's own name first. `check` and `checker` are the
# lemmas of `checked` and `checkered`.
LEXICON: dict[str, dict[str, tuple[str, ...]]] = {
    "object": NOUNS,
    "colour": COLOUR_WORDS,
    "texture": {
        "plain": ("plain", "solid"),
        "striped": ("striped", "stripe"),
        "dotted": ("dotted", "dot", "spotted", "spot"),
        "checkered": ("checkered", "checker", "checked", "check"),
    },
    "background": {
        "grass": ("grass", "meadow", "lawn"),
        "water": ("water", "sea", "lake"),
        "sand": ("sand", "beach", "desert"),
        "snow": ("snow", "ice"),
        "brick": ("brick", "wall", "brick wall"),
        "night": ("night", "sky", "night sky"),
        "wood": ("wood", "timber", "plank"),
        "gravel": ("gravel", "pebble", "stone"),
    },
    "position": {
        "left": ("left",),
        "right": ("right",),
        "top": ("top",),
        "bottom": ("bottom",),
        "centre": ("centre", "middle"),
    },
}
MENTIONED = {"object": 0.88, "colour": 0.72, "texture": 0.5, "background": 0.72, "position": 0.1}
PLACEHOLDERS = ("thing", "shape", "object")
FRAMES = (
    "{0}",
    "{0}",
    "{0}",
    "a photo of {0}",
    "a picture of {0}",
    "there is {0}",
    "an image showing {0}",
    "view of {0}",
)

SUBJECTS = (
    "a dog", "a cat", "an old man", "a young woman", "two children", "a horse",
    "a chef", "an elephant", "a guitarist", "a monkey", "a robot", "a nurse",
)  # fmt: skip
ACTIVITIES = (
    "playing the piano", "reading a newspaper", "riding a bicycle", "eating a sandwich", "sleeping on a sofa", "waiting for the train",
    "dancing at a wedding", "giving a speech", "jumping over a fence", "holding a microphone", "cooking spaghetti", "running a marathon",
)  # fmt: skip
GOODS = (
    "running shoes",
    "phone case",
    "laptop charger",
    "wedding dress",
    "office chair",
    "dog food",
    "travel insurance",
    "hotel booking",
    "perfume",
    "curtains",
)
CODES = ("IMG", "DSC", "DSCN", "P", "SAM", "GOPR")
BORDERS = (
    "{0} wallpaper hd 1080p", "{0} free stock photo", "{0} vector clipart", "{0} - download now!!", "{0} | poster print 50x70",
    "HD {0} 4k background", "{0} (3 of 12)", "buy {0} online",
)  # fmt: skip


class _Draw:
    """Random choices by a generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def one(self, options: Sequence):
        """Draw one option, each with the same probability."""
        return options[int(self.rng.integers(0, len(options)))]

    def chance(self, share: float) -> bool:
        """Draw whether an event of probability `share` occurs."""
        return bool(self.rng.random() < share)

    def number(self, low: int, high: int) -> int:
        """Draw an integer in [low, high)."""
        return int(self.rng.integers(low, high))


def lexicon() -> pd.DataFrame:
    """Return the table of the words that name each value.

    Returns
    -------
    DataFrame
        Columns ``kind, value, word``. The first word of a value is its own name.
    """
    rows = [
        (kind, value, word) for kind, values in LEXICON.items() for value, words in values.items() for word in words
    ]
    return pd.DataFrame(rows, columns=["kind", "value", "word"])


def prompts(kind: str, value: str) -> list[str]:
    """Return captions that mention only one attribute, for zero-shot classification.

    Parameters
    ----------
    kind
        ``object``, ``colour``, ``texture`` or ``background``.
    value
        A value of that kind.
    """
    if kind == "object":
        return [with_article(noun) for noun in NOUNS[value]]
    if kind == "background":
        return [f"a thing {place}" for place, _ in GROUND_PHRASES[value]] + [
            ground for _, ground in GROUND_PHRASES[value]
        ]
    if kind == "colour":
        return [with_article(f"{word} {thing}") for word in COLOUR_WORDS[value] for thing in PLACEHOLDERS]
    adjectives, phrases = TEXTURE_WORDS[value]
    return [with_article(f"{word} {thing}") for word in adjectives for thing in PLACEHOLDERS] + [
        f"a thing {phrase}" for phrase in phrases
    ]


def with_article(phrase: str) -> str:
    """Prepend the indefinite article to a phrase."""
    return f"{'an' if phrase[0] in 'aeio' else 'a'} {phrase}"


def _subject(draw: _Draw, scene: dict[str, str], mentioned: dict[str, bool]) -> str:
    """Draw a noun phrase of the object with the mentioned attributes."""
    noun = draw.one(NOUNS[scene["object"]]) if mentioned["object"] else draw.one(PLACEHOLDERS)
    words = [draw.one(COLOUR_WORDS[scene["colour"]])] if mentioned["colour"] else []
    adjectives, phrases = TEXTURE_WORDS[scene["texture"]]
    tail = ""
    if mentioned["texture"] and phrases and draw.chance(0.3):
        tail = f" {draw.one(phrases)}"
    elif mentioned["texture"]:
        words.insert(draw.number(0, len(words) + 1), draw.one(adjectives))
    return with_article(" ".join([*words, noun])) + tail


def _sentence(draw: _Draw, subject: str, scene: dict[str, str], mentioned: dict[str, bool]) -> str:
    """Join subject, ground and position."""
    position = f" {draw.one(POSITION_PHRASES[scene['position']])}" if mentioned["position"] else ""
    if not mentioned["background"]:
        return subject + position
    place, ground = draw.one(GROUND_PHRASES[scene["background"]])
    return f"{ground} with {subject}{position}" if draw.chance(0.15) else f"{subject} {place}{position}"


def describe(scene: dict[str, str], rng: np.random.Generator) -> str:
    """Draw a caption of a scene that mentions some of its attributes.

    Parameters
    ----------
    scene
        Names of its ``object, colour, texture, background, position``.
    rng
        Source of the choices.
    """
    draw = _Draw(rng)
    mentioned = {kind: draw.chance(share) for kind, share in MENTIONED.items()}
    if not (mentioned["object"] or mentioned["colour"] or mentioned["texture"]):
        ground = draw.one(GROUND_PHRASES[scene["background"]])[1]
        return draw.one(("{0}", "a photo of {0}", "{0} in the background")).format(ground)
    return draw.one(FRAMES).format(_sentence(draw, _subject(draw, scene, mentioned), scene, mentioned))


def absent(rng: np.random.Generator) -> str:
    """Draw a caption of something that occurs in no image."""
    draw = _Draw(rng)
    return draw.one(("{0}", "a photo of {0}", "{0} in the kitchen", "{0} at the airport")).format(
        f"{draw.one(SUBJECTS)} {draw.one(ACTIVITIES)}"
    )


def junk(scene: dict[str, str], rng: np.random.Generator) -> str:
    """Draw a junk caption: a file name, a slogan, an address, or a real caption with junk around it."""
    draw = _Draw(rng)
    code, goods = f"{draw.one(CODES)}_{draw.number(1, 9999):04d}", draw.one(GOODS)
    pure = (
        f"{code} free stock photo", f"{code}.JPG", f"{code} ({draw.number(1, 40)}).jpg",
        f"buy cheap {goods} online {draw.number(2008, 2023)}",
        f"best {goods} deals - free shipping!!!", f"www.example.com/{goods.replace(' ', '-')}/p{draw.number(100, 99999)}.html",
        f"{goods} size {draw.number(30, 50)} review", "click here to download", f"page {draw.number(1, 90)} of {draw.number(90, 400)}",
    )  # fmt: skip
    return draw.one(BORDERS).format(describe(scene, rng)) if draw.chance(0.5) else draw.one(pure)


def _near_duplicate(caption: str, rng: np.random.Generator) -> str:
    """Change the form of a caption but not its meaning."""
    draw = _Draw(rng)
    changes = (
        caption + ".",
        caption.capitalize(),
        caption.capitalize() + ".",
        f"{caption} {draw.number(1, 9)}",
        caption.upper(),
        caption + "  !",
        f'"{caption}"',
    )
    return draw.one(changes)


def corpus(
    scenes: pd.DataFrame, junk_share: float, absent_share: float, rng: np.random.Generator, near_duplicates: float = 0.1
) -> list[str]:
    """Draw a caption corpus, one caption per row of `scenes`.

    Parameters
    ----------
    scenes
        Attributes for the captions. They belong to no image.
    junk_share, absent_share, near_duplicates
        Shares in [0, 1] of junk, of captions of things that occur in no image, and of near-duplicates of an earlier
        caption. Their sum is at most 1.
    rng
        Source of the choices.
    """
    bounds = np.array([junk_share, absent_share, near_duplicates]).cumsum()
    kinds = np.searchsorted(bounds, rng.random(len(scenes)), side="right")
    captions: list[str] = []
    for scene, kind in zip(scenes.to_dict("records"), kinds, strict=True):
        if kind == 2 and captions:
            captions.append(_near_duplicate(captions[int(rng.integers(0, len(captions)))], rng))
        else:
            captions.append(junk(scene, rng) if kind == 0 else absent(rng) if kind == 1 else describe(scene, rng))
    return captions


def training_captions(scenes: pd.DataFrame, each: int, noise: float, rng: np.random.Generator) -> list[list[str]]:
    """Draw several captions of every image, with a share of junk and of captions of something else.

    Parameters
    ----------
    scenes
        Attributes of the images.
    each
        Captions per image.
    noise
        Share in [0, 1] of noise. Half of it is junk, half is about something else.
    rng
        Source of the choices.
    """
    return [[_noisy(scene, noise, rng) for _ in range(each)] for scene in scenes.to_dict("records")]


def _noisy(scene: dict[str, str], noise: float, rng: np.random.Generator) -> str:
    """Draw a caption of a scene, or noise with probability `noise`."""
    chance = rng.random()
    if chance < noise / 2:
        return junk(scene, rng)
    return absent(rng) if chance < noise else describe(scene, rng)
