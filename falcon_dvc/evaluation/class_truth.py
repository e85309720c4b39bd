"""Compare words with the classes of the user's images: the truth of a feature is the class that it follows.

The classes are those of the folders, or of the table of images. A class is named by the words in the params, or by those of
its own name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.concepts.words.parsing import parse_captions
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.ground_truth import Attribute, Judge, judge_of
from falcon_dvc.images.decode import printable

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params, ParseCaptions

KIND = "class"
SYNSET = re.compile(r"n\d{8}")
LEAST_CLASSES = 2


def read_class_judge(params: Params, name: str) -> Judge:
    """Read what the words of the encoder `name` are compared with: the classes of the held-out images.

    Raises
    ------
    UserError
        If no images are held out or they have fewer than two classes, or the params lack the words of some.
    """
    images = read_table(paths.IMAGES)
    rows = np.flatnonzero((images["split"] == "test") & (images["label"] != ""))
    labels = images["label"].to_numpy()[rows]
    classes = sorted(set(labels))
    if len(classes) < LEAST_CLASSES:
        raise UserError(
            f"evaluate_classes.encoders: the held-out images have {len(classes)} different labels, and at least {LEAST_CLASSES} are "
            "needed; put the images of a class into a folder of its own, set data.heldout, or leave the list empty"
        )
    attributes = pd.DataFrame({(KIND, label): labels == label for label in classes})
    names = accepted_words(classes, params)
    return judge_of(name, rows, attributes, names, params.evaluate_classes.clear)


def accepted_words(classes: Sequence[str], params: Params) -> dict[Attribute, set[str]]:
    """Return the words that name each class, in the form in which captions are parsed.

    Raises
    ------
    UserError
        If the params name some classes and lack others.
    """
    given = params.evaluate_classes.names
    missing = [label for label in classes if given and label not in given]
    if missing:
        shown = ", ".join(map(printable, missing[:3]))
        raise UserError(
            f"evaluate_classes.names: lacks {len(missing)} of the {len(classes)} classes of the held-out images ({shown}); add their words"
        )
    return {(KIND, label): names for label, names in words_of_classes(classes, params).items()}


def words_of_classes(classes: Sequence[str], params: Params) -> dict[str, set[str]]:
    """Return the words that name each class, in the form in which captions are parsed: those of the params, or of its own name."""
    return words_of_labels(classes, params.parse_captions, dict(params.evaluate_classes.names))


def words_of_labels(
    classes: Sequence[str], settings: ParseCaptions, given: Mapping[str, Sequence[str]] | None = None
) -> dict[str, set[str]]:
    """Return the words that name each class: the given ones, or those of its own name."""
    return {label: _parsed((given or {}).get(label) or [readable(label)], settings) for label in classes}


def readable(label: str) -> str:
    """Return the name of a class as text: of a synset its name in ImageNet, of another label its words."""
    if SYNSET.fullmatch(label):
        from falcon_dvc.models.imagenet import imagenet_class_names, imagenet_synsets

        names = dict(zip(imagenet_synsets(), imagenet_class_names(), strict=True))
        if label in names:
            return names[label]
    return " ".join(re.sub(r"[_\-.]+|(?<=[a-z])(?=[A-Z])", " ", label.rpartition("/")[2]).split())


def _parsed(texts: Iterable[str], settings: Any) -> set[str]:
    """Return the words of texts as captions are parsed, and the texts themselves."""
    texts = [text.casefold() for text in texts]
    mentions = parse_captions(texts, frozenset(settings.discard), settings.min_word, settings.language)
    return {*texts, *(mentions.vocabulary[number] for number in np.unique(mentions.concept))}


def halves(truth: pd.DataFrame, seed: int) -> np.ndarray:
    """Divide the classes at random; return whether the class of each feature is in the first half.

    Settings can be chosen on one half of the classes and reported on the other.
    """
    classes = np.array(sorted(set(truth["value"])), dtype=object)
    order = np.random.default_rng(seed).permutation(len(classes))
    return np.isin(truth["value"].to_numpy(), classes[order[: -(-len(classes) // 2)]])
