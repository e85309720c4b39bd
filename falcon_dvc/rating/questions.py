"""Draw the questions of a rating sheet: features, their own words, and the lists of the other methods."""

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
from falcon_dvc.rating.files import OWN, KeyQuestion, SamplingFrame, WordList
from falcon_dvc.rating.sheet import Question
from falcon_dvc.threads import WORKERS

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params, Study

Words = tuple[str, ...]


@dataclass(frozen=True)
class ExplainedEncoder:
    """The data of one encoder from which a method draws its lists of words.

    Attributes
    ----------
    encoder : a key of the param ``encoders``; a method can find other artefacts by it.
    words : first words of each single feature, best first; features without words are left out.
    frequency : share of each word among the words of the corpus.
    """

    encoder: str
    words: Mapping[str, Words]
    frequency: pd.Series


def explanation(explained: ExplainedEncoder, generator: Generator) -> dict[str, Words]:
    """Return the feature's own words."""
    return dict(explained.words)


def other_feature(explained: ExplainedEncoder, generator: Generator) -> dict[str, Words]:
    """Draw another feature with another first word and at least as many words, and return its words."""
    groups = list(explained.words)
    first = np.array([explained.words[group][0] for group in groups], dtype=object)
    length = np.array([len(explained.words[group]) for group in groups])
    words = {}
    for index, group in enumerate(groups):
        others = np.flatnonzero((first != first[index]) & (length >= length[index]))
        if len(others):
            words[group] = explained.words[groups[generator.choice(others)]]
    return words


def frequent_words(explained: ExplainedEncoder, generator: Generator) -> dict[str, Words]:
    """Draw words of the corpus by frequency, for each feature separately: raters would recognise a repeated list."""
    words, share = explained.frequency.index.to_numpy(), explained.frequency.to_numpy()
    return {
        group: tuple(generator.choice(words, min(len(own), len(words)), replace=False, p=share))
        for group, own in explained.words.items()
    }


def constant(explained: ExplainedEncoder, generator: Generator) -> dict[str, Words]:
    """Return the most frequent words of the corpus, the same for each feature."""
    longest = max(map(len, explained.words.values()), default=0)
    return dict.fromkeys(explained.words, tuple(explained.frequency.index[:longest]))


# The methods that a sheet can compare. To add one, write a function and name it in the param study.against.
METHODS: dict[str, Callable[[ExplainedEncoder, Generator], dict[str, Words]]] = {
    OWN: explanation,
    "other_feature": other_feature,
    "frequent_words": frequent_words,
    "constant": constant,
}


def ask(params: Params) -> tuple[list[KeyQuestion], dict[str, SamplingFrame]]:
    """Draw the questions of a sheet in random order, and count the features that they are drawn from.

    Raises
    ------
    UserError
        If an artefact is missing, a method is unknown, or no question can be made.
    """
    settings = params.study
    methods, generator = methods_of(settings), np.random.default_rng(settings.seed)
    frequency = _frequency(read_table(paths.MENTIONS))
    frames: dict[str, SamplingFrame] = {}
    questions: list[KeyQuestion] = []
    for name, count in _shared_equally(settings.questions, list(params.without_controls)).items():
        words, frames[name] = _words(name, settings.words)
        questions += _questions(ExplainedEncoder(name, words, frequency), methods, count, generator)
    if not questions:
        raise UserError(
            "params.yaml: study.against: no feature has words that differ from the other lists; name other methods"
        )
    order = generator.permutation(len(questions))
    return [
        questions[index].model_copy(update={"question": f"q{number}"}) for number, index in enumerate(order, start=1)
    ], frames


def methods_of(settings: Study) -> list[str]:
    """List the feature's own words, then the methods of the param ``study.against``."""
    methods = [OWN, *settings.against]
    for name in methods:
        if name not in METHODS or methods.count(name) > 1:
            known = ", ".join(other for other in METHODS if other != OWN)
            raise UserError(f"params.yaml: study.against: '{name}' is unknown or listed twice; known are: {known}")
    return methods


def _shared_equally(questions: int, encoders: Sequence[str]) -> dict[str, int]:
    """Divide the questions among the encoders; the first encoders get the remainder."""
    each, remainder = divmod(questions, len(encoders))
    return {name: each + (place < remainder) for place, name in enumerate(encoders)}


def _frequency(mentions: pd.DataFrame) -> pd.Series:
    """Compute the share of each word among the words of all captions, the largest first, then by word."""
    words = mentions.loc[mentions["kind"] == "word", ["caption", "concept"]].drop_duplicates()
    captions = words.groupby("concept")["caption"].count().sort_index().sort_values(ascending=False, kind="stable")
    return captions / captions.sum()


def _words(name: str, most: int) -> tuple[dict[str, Words], SamplingFrame]:
    """Read the first kept words of each single feature in order, and count the features."""
    groups = read_table(paths.groups(name) / "groups.parquet")
    concepts = read_table(paths.concepts(name) / "concepts.parquet")
    single = groups[groups["size"] == 1]
    single = single.iloc[np.argsort(single["members"].astype(int), kind="stable")]
    listed = listed_words(concepts, most)
    words = {group: tuple(listed[group]) for group in single["group"] if group in listed}
    return words, SamplingFrame(features=len(single), without_words=len(single) - len(words))


def _questions(
    explained: ExplainedEncoder, methods: Sequence[str], count: int, generator: Generator
) -> list[KeyQuestion]:
    """Draw up to `count` features, and shuffle the lists of all methods."""
    words_of = {method: METHODS[method](explained, generator) for method in methods}
    groups = list(explained.words)
    questions: list[KeyQuestion] = []
    for place in generator.permutation(len(groups)):
        lists = _lists({method: words.get(groups[place], ()) for method, words in words_of.items()})
        if lists and len(questions) < count:
            shown = tuple(lists[position] for position in generator.permutation(len(lists)))
            questions.append(KeyQuestion(question="", encoder=explained.encoder, group=groups[place], lists=shown))
    return questions


def _lists(words: Mapping[str, Words]) -> list[WordList]:
    """Make the lists of a question, as long as the feature's own; none if two lists have the same words.

    Equal lengths do not reveal the method.
    """
    length = len(words[OWN])
    lists = [
        WordList(method=method, words=listed[:length]) for method, listed in words.items() if len(listed) >= length
    ]
    different = len({frozenset(word_list.words) for word_list in lists})
    return lists if different == len(words) else []


def draw(asked: Sequence[KeyQuestion], params: Params) -> list[Question]:
    """Draw the questions as the raters see them: the strongest crops of each feature, and the words."""
    images = read_table(paths.IMAGES)
    source = open_images(params.data, images)
    crops = _crops(asked, images, params.study.pictures)
    uris = crops.assign(uri=_pictures(source, crops, params.study.thumbnail)).groupby("question")["uri"].agg(list)
    return [Question(key.question, uris[key.question], [list(words.words) for words in key.lists]) for key in asked]


def _crops(asked: Sequence[KeyQuestion], images: pd.DataFrame, pictures: int) -> pd.DataFrame:
    """Select the first crops of each question's feature, with the rows of their images; joined by key."""
    keys = [(question.question, question.encoder, question.group) for question in asked]
    wanted = pd.DataFrame(keys, columns=["question", "encoder", "group"])
    tables = []
    for name, questions in wanted.groupby("encoder", sort=False):
        crops = read_table(paths.crops(str(name)) / "crops.parquet")
        high = crops[crops["role"] == "high"].sort_values("rank", kind="stable")
        tables.append(questions.merge(high[high.groupby("group").cumcount() < pictures], on="group", how="inner"))
    shown = pd.concat(tables, ignore_index=True)
    missing = set(wanted["question"]) - set(shown["question"])
    row = pd.Index(images["image"]).get_indexer(shown["image"])
    if missing or (row < 0).any():
        raise UserError(
            f"{paths.DATA}/crops: crops or images of the features are missing; run `dvc repro` to write them again"
        )
    return shown.assign(row=row)


def _pictures(source: ImageSource, crops: pd.DataFrame, size: int) -> list[str]:
    """Draw every crop as a square picture, as the image-text encoder sees it."""

    def draw(crop: Any) -> str:
        box = (int(crop.left), int(crop.top), int(crop.right), int(crop.bottom))
        return data_uri(resized(source.load(int(crop.row)), size, box))

    with ThreadPoolExecutor(WORKERS) as pool:
        rows = list(crops.itertuples(index=False))
        return list(track(pool.map(draw, rows), "Drawing crops", total=len(rows)))
