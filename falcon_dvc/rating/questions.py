"""The questions of a rating sheet: features drawn at random, and whose words stand beside their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.random import Generator

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.errors import UserError
from falcon_dvc.html.pictures import data_uri
from falcon_dvc.images.decode import resized
from falcon_dvc.images.open import open_images
from falcon_dvc.images.source import ImageSource
from falcon_dvc.progress import track
from falcon_dvc.rating.files import OWN, Asked, Frame, Listed
from falcon_dvc.rating.sheet import Question
from falcon_dvc.threads import WORKERS

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params, Study

Words = tuple[str, ...]


@dataclass(frozen=True)
class Explained:
    """What a method may look at; other artefacts of the encoder it finds by the encoder's name.

    Attributes
    ----------
    encoder : a key of the param ``encoders``.
    words : first words of each single feature, best first; without the features that have none.
    frequency : share of each word among the words of the corpus.
    """

    encoder: str
    words: Mapping[str, Words]
    frequency: pd.Series


def explanation(explained: Explained, generator: Generator) -> dict[str, Words]:
    """The feature's own words."""
    return dict(explained.words)


def other_feature(explained: Explained, generator: Generator) -> dict[str, Words]:
    """The words of another feature, drawn among those with another first word and at least as many words."""
    groups = list(explained.words)
    first = np.array([explained.words[group][0] for group in groups], dtype=object)
    length = np.array([len(explained.words[group]) for group in groups])
    found = {}
    for place, group in enumerate(groups):
        others = np.flatnonzero((first != first[place]) & (length >= length[place]))
        if len(others):
            found[group] = explained.words[groups[generator.choice(others)]]
    return found


def frequent_words(explained: Explained, generator: Generator) -> dict[str, Words]:
    """Words of the corpus by their frequency, drawn anew for each feature: raters would recognise one list for all."""
    words, share = explained.frequency.index.to_numpy(), explained.frequency.to_numpy()
    return {
        group: tuple(generator.choice(words, min(len(own), len(words)), replace=False, p=share))
        for group, own in explained.words.items()
    }


def constant(explained: Explained, generator: Generator) -> dict[str, Words]:
    """The most frequent words of the corpus, whatever the feature."""
    longest = max(map(len, explained.words.values()), default=0)
    return dict.fromkeys(explained.words, tuple(explained.frequency.index[:longest]))


# Whose words can stand on a sheet: another method is a function here and a name in the param study.against.
METHODS: dict[str, Callable[[Explained, Generator], dict[str, Words]]] = {
    OWN: explanation,
    "other_feature": other_feature,
    "frequent_words": frequent_words,
    "constant": constant,
}


def ask(params: Params) -> tuple[list[Asked], dict[str, Frame]]:
    """Draw the questions of a sheet, in random order, and count the features that they are drawn from.

    Raises
    ------
    UserError
        If an artefact is missing, a method is unknown, or nothing can be asked.
    """
    settings = params.study
    methods, generator = methods_of(settings), np.random.default_rng(settings.seed)
    frequency = _frequency(read_table(paths.MENTIONS))
    frames: dict[str, Frame] = {}
    asked: list[Asked] = []
    for name, count in _shared_equally(settings.questions, list(params.encoders)).items():
        words, frames[name] = _words(name, settings.words)
        asked += _questions(Explained(name, words, frequency), methods, count, generator)
    if not asked:
        raise UserError(
            "params.yaml: study.against: no feature has words that differ from the other lists; name other methods"
        )
    order = generator.permutation(len(asked))
    return [asked[at].model_copy(update={"question": f"q{number}"}) for number, at in enumerate(order, start=1)], frames


def methods_of(settings: Study) -> list[str]:
    """The feature's own words and what they are compared with."""
    methods = [OWN, *settings.against]
    for name in methods:
        if name not in METHODS or methods.count(name) > 1:
            known = ", ".join(other for other in METHODS if other != OWN)
            raise UserError(f"params.yaml: study.against: '{name}' is unknown or there twice; known are: {known}")
    return methods


def _shared_equally(questions: int, encoders: Sequence[str]) -> dict[str, int]:
    """Questions of each encoder; the first ones get what is left over."""
    each, left = divmod(questions, len(encoders))
    return {name: each + (place < left) for place, name in enumerate(encoders)}


def _frequency(mentions: pd.DataFrame) -> pd.Series:
    """Share of each word among the words of all captions, the most frequent first; those of equal share by name."""
    words = mentions.loc[mentions["kind"] == "word", ["caption", "concept"]].drop_duplicates()
    captions = words.groupby("concept")["caption"].count().sort_index().sort_values(ascending=False, kind="stable")
    return captions / captions.sum()


def _words(name: str, most: int) -> tuple[dict[str, Words], Frame]:
    """First kept words of each single feature in the order of the features, and how many have none."""
    groups = read_table(paths.groups(name) / "groups.parquet")
    concepts = read_table(paths.concepts(name) / "concepts.parquet")
    single = groups[groups["size"] == 1]
    single = single.iloc[np.argsort(single["members"].astype(int), kind="stable")]
    listed = listed_words(concepts, most)
    words = {group: tuple(listed[group]) for group in single["group"] if group in listed}
    return words, Frame(features=len(single), without_words=len(single) - len(words))


def _questions(explained: Explained, methods: Sequence[str], count: int, generator: Generator) -> list[Asked]:
    """Up to `count` features, drawn at random, with the lists of all methods in random order."""
    found = {method: METHODS[method](explained, generator) for method in methods}
    groups = list(explained.words)
    asked: list[Asked] = []
    for place in generator.permutation(len(groups)):
        lists = _lists({method: words.get(groups[place], ()) for method, words in found.items()})
        if lists and len(asked) < count:
            shown = tuple(lists[position] for position in generator.permutation(len(lists)))
            asked.append(Asked(question="", encoder=explained.encoder, group=groups[place], lists=shown))
    return asked


def _lists(words: Mapping[str, Words]) -> list[Listed]:
    """The lists of a question, as long as the feature's own so that length tells nothing; none if two say the same."""
    length = len(words[OWN])
    lists = [Listed(method=method, words=some[:length]) for method, some in words.items() if len(some) >= length]
    different = len({frozenset(some.words) for some in lists})
    return lists if different == len(words) else []


def draw(asked: Sequence[Asked], params: Params) -> list[Question]:
    """The questions as they are shown: the strongest crops of each feature, and words."""
    images = read_table(paths.IMAGES)
    source = open_images(params.data, images)
    crops = _crops(asked, images, params.study.pictures)
    uris = crops.assign(uri=_pictures(source, crops, params.study.thumbnail)).groupby("question")["uri"].agg(list)
    return [
        Question(some.question, uris[some.question], [list(listed.words) for listed in some.lists]) for some in asked
    ]


def _crops(asked: Sequence[Asked], images: pd.DataFrame, pictures: int) -> pd.DataFrame:
    """First crops of each question's feature with the row of their image; joined by key."""
    keys = [(some.question, some.encoder, some.group) for some in asked]
    wanted = pd.DataFrame(keys, columns=["question", "encoder", "group"])
    parts = []
    for name, part in wanted.groupby("encoder", sort=False):
        crops = read_table(paths.crops(str(name)) / "crops.parquet")
        high = crops[crops["role"] == "high"].sort_values("rank", kind="stable")
        parts.append(part.merge(high[high.groupby("group").cumcount() < pictures], on="group", how="inner"))
    shown = pd.concat(parts, ignore_index=True)
    missing = set(wanted["question"]) - set(shown["question"])
    row = pd.Index(images["image"]).get_indexer(shown["image"])
    if missing or (row < 0).any():
        raise UserError(
            f"{paths.DATA}/crops: crops or images of the features are missing; run `dvc repro` to make them again"
        )
    return shown.assign(row=row)


def _pictures(source: ImageSource, crops: pd.DataFrame, size: int) -> list[str]:
    """Every crop as a square picture, as the image-text encoder saw it."""

    def draw(crop: Any) -> str:
        box = (int(crop.left), int(crop.top), int(crop.right), int(crop.bottom))
        return data_uri(resized(source.load(int(crop.row)), size, box))

    with ThreadPoolExecutor(WORKERS) as pool:
        rows = list(crops.itertuples(index=False))
        return list(track(pool.map(draw, rows), "Drawing crops", total=len(rows)))
