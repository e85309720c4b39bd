"""What the user's images, captions and networks are: opened as the stages open them, before any work."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from falcon_dvc.captions.corpus_file import clean_caption, is_missing
from falcon_dvc.captions.formats import format_of, open_captions
from falcon_dvc.captions.pairs import read_pairs
from falcon_dvc.cli.recipe.request import Entry, Request, joined, with_paths
from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import printable
from falcon_dvc.images.listing import Collection, find_in_folder, list_collection
from falcon_dvc.models.encoders.classifiers import LinearClassifier, linear_classifier
from falcon_dvc.models.encoders.hooked import HookedEncoder
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.encoders.networks import IMAGENET, check_names
from falcon_dvc.models.encoders.packaged import is_packaged
from falcon_dvc.models.open_clip.build import loaded
from falcon_dvc.params.feature_file import read_feature_file
from falcon_dvc.params.schema import Data, EncoderSpec

DECODED = 2000  # images that are decoded; of more, as many evenly spaced ones
BATCHES = 25  # batches of captions that are read, about 200 000 captions
FEWEST_CAPTIONS = 5  # as many as a crop retrieves
IMAGENET_OUTPUTS = 1000
IN_BASIS = "the network's classifier reads the channels of a layer, not the features of a basis"
IMAGES_OF_CLASS = 10  # of which some are held out, and three must remain to fit a probe


@dataclass(frozen=True)
class Images:
    """The images of a folder.

    Attributes
    ----------
    count : int
        Pictures by their suffix, without those that could not be decoded.
    decoded, skipped : int
        How many were decoded, and how many of them could not be.
    labels : list of str
        The class folder of each picture; "" for none.
    """

    count: int
    decoded: int
    skipped: int
    labels: list[str]

    @property
    def folders(self) -> list[str]:
        """Names of the class folders."""
        return sorted({label for label in self.labels if label})


@dataclass(frozen=True)
class Captions:
    """The number of captions that were read, whether there are more, and the format of their file or folder."""

    count: int
    more: bool
    format: str


@dataclass(frozen=True)
class EncoderFound:
    """The encoder to explain.

    Attributes
    ----------
    features : int
        Number of its features.
    explained : int
        How many of them are explained.
    layer : str
        Where they are read; "" if the kind has one layer.
    weights : str
        How many tensors a file gave; "" without a file.
    classifier : LinearClassifier or None
        Its classifier, if the classes have names.
    without : str
        Why there is no classifier; "" if there is one.
    remarks : sequence of str
        What there is to say about the default layer.
    basis : str
        What the features are in place of channels; "" if they are channels.
    """

    features: int
    explained: int
    layer: str
    weights: str
    classifier: LinearClassifier | None
    without: str
    remarks: Sequence[str] = ()
    basis: str = ""


@contextmanager
def in_terms_of_options(name: str) -> Iterator[None]:
    """Name options of the command instead of params in the errors of a block."""
    encoder = f"encoders.{name}"
    options = {
        "data.images": "--images",
        "data.captions": "--captions",
        "data.caption_column": "--caption-column",
        **{f"{encoder}.{key}": f"--{key}" for key in ("checkpoint", "layer", "pooling", "classes", "head", "features")},
        **{f"{encoder}.basis.{key}": "--basis" for key in ("sae", "directions", "components", "fit")},
        f"{encoder}.basis.both_signs": "--both-signs",
        f"{encoder}.basis": "--basis",
        encoder: "--encoder",
    }
    try:
        yield
    except UserError as error:
        text = str(error)
        for param, option in options.items():
            text = text.replace(param, option)
        raise UserError(text) from error


def find_images(request: Request) -> Images:
    """List the pictures of the folder, and decode them, or a sample of many.

    Raises
    ------
    UserError
        If there is no folder, or no picture in it can be decoded.
    """
    found = find_in_folder(request.images)
    rows = np.unique(np.linspace(0, len(found.ids) - 1, min(DECODED, len(found.ids))).astype(int)).tolist()
    sample = Collection(
        found.place,
        [found.ids[row] for row in rows],
        [found.labels[row] for row in rows],
        lambda at: found.decode(rows[at]),
    )
    skipped = len(list_collection(sample, "skip").skipped)
    return Images(len(found.ids) - skipped, len(rows), skipped, found.labels)


def find_captions(request: Request) -> Captions:
    """Read the captions, or the first of many.

    Raises
    ------
    UserError
        If they cannot be read, or are too few.
    """
    data = Data(
        source="images",
        images=str(request.images),
        captions=str(request.captions),
        caption_format="vocabulary" if request.vocabulary else "auto",
        caption_column=request.caption_column,
        unreadable="skip",
        heldout=0.0,
    )
    batches = open_captions(data).batches()
    lines = count = undecodable = 0
    for batch in islice(batches, BATCHES):
        lines += len(batch.texts)
        count += sum(map(_usable, batch.texts))
        undecodable += batch.undecodable
    more = next(batches, None) is not None
    if 2 * undecodable > lines:
        raise UserError(f"--captions {request.captions}: is no text in UTF-8; give a text file with one caption a line")
    if count < FEWEST_CAPTIONS and not more:
        raise UserError(
            f"--captions {request.captions}: holds {count} captions; {FEWEST_CAPTIONS} or more are needed, better thousands"
        )
    kind = data.caption_format if request.vocabulary else format_of(request.captions, request.caption_column)
    return Captions(count, more, kind)


def _usable(text: str | None) -> bool:
    return text is not None and not is_missing(clean_caption(text))


def find_encoder(entry: Entry, name: str) -> EncoderFound:
    """Build the network with the weights of the file; released weights are not downloaded.

    Raises
    ------
    UserError
        If network, weights, layer, head, classes or features do not exist or do not fit each other.
    """
    param, spec = f"encoders.{name}", _spec(entry)
    if spec.kind == "efficientnet_lite":
        encoder: Any = load_encoder(spec, param=param)
        width, basis = _features(spec, encoder.width, param)
        classifier = None if basis and not spec.head else _fitting(linear_classifier(spec, param), width)
        without = IN_BASIS if classifier is None else ""
        return EncoderFound(width, _explained(entry, width), "", "", classifier, without, basis=basis)
    check_names(spec, param)
    encoder, spec = _built(spec, param)
    width, basis = _features(spec, encoder.width, param)
    classifier, without = _classifier(encoder, spec, entry, width, param)
    explained, layers = _explained(entry, width), _layers(encoder)
    return EncoderFound(width, explained, layers, _loaded(encoder), classifier, without, encoder.remarks, basis)


def _features(spec: Any, channels: int, param: str) -> tuple[int, str]:
    """Return the number of features, and what they are in place of channels; "" if they are channels.

    Raises
    ------
    UserError
        If the basis cannot be read, or does not fit the layer.
    """
    if spec.basis is None:
        return channels, ""
    sides = "; each has two sides" if spec.basis.both_signs else ""
    if spec.basis.fit:
        count = spec.basis.components * (2 if spec.basis.both_signs else 1)
        if spec.basis.components > channels:
            raise UserError(
                f"{param}.basis.components {spec.basis.components}: the layer has {channels} channels; ask for fewer components"
            )
        return count, f"{count} features: {spec.basis.fit} of {channels} channels, fitted by the run{sides}"
    from falcon_dvc.models.bases.prepare import basis_without_fit

    basis = basis_without_fit(spec.basis, channels, f"{param}.basis")
    return basis.width, f"{basis.width} features of {channels} channels, read as {basis.description['format']}{sides}"


def _classifier(
    encoder: HookedEncoder, spec: Any, entry: Entry, width: int, param: str
) -> tuple[LinearClassifier | None, str]:
    """Return the classifier of the features, or None and why there is none."""
    untrained = "random" in (entry.get("weights"), entry.get("pretrained")) and not entry.get("head")
    readable = spec.basis is None or spec.head is not None
    if spec.classes and not untrained and readable:
        classifier = _fitting(linear_classifier(spec, param), width)
        if classifier:
            return classifier, ""
    without = _why_no_classifier(encoder, spec, untrained) if readable else IN_BASIS
    if entry.get("classes"):
        raise UserError(f"--classes: {without}; leave it out")
    return None, without


def _fitting(classifier: LinearClassifier | None, features: int) -> LinearClassifier | None:
    """Return the classifier.

    Raises
    ------
    UserError
        If it is that of a file and reads another number of features.
    """
    if classifier and classifier.weights.shape[1] != features:
        read = classifier.weights.shape[1]
        raise UserError(
            f"--head: reads {read} features, but the encoder has {features}; name the layer that it was trained on"
        )
    return classifier


def _spec(entry: Entry) -> Any:
    """Validate what concerns the network in the entry of an encoder, with paths as the user gave them."""
    network = {key: value for key, value in entry.items() if key != "features"}
    try:
        return TypeAdapter(EncoderSpec).validate_python(with_paths(network, str))
    except ValidationError as error:
        problem = error.errors()[0]
        key = next((str(key) for key in problem["loc"] if key in entry), "encoder")
        option = f"--{key}"
        raise UserError(f"{option}: {problem['msg'].removeprefix('Value error, ')}; see docs/encoders.md") from error


def _built(spec: Any, param: str) -> tuple[HookedEncoder, Any]:
    """Build a network. Random numbers stand for released weights, which have the same layers and outputs."""
    source = "pretrained" if spec.kind == "open_clip" else "weights"
    if getattr(spec, source) in ("checkpoint", "random") or is_packaged(getattr(spec, source)):
        return HookedEncoder(spec, param=param), spec
    spec = spec.model_copy(update={source: "random"})
    encoder = HookedEncoder(spec, param=param)
    if spec.classes is None and encoder.outputs() == IMAGENET_OUTPUTS and spec.kind != "open_clip":
        spec = spec.model_copy(update={"classes": IMAGENET})
    return encoder, spec


def _why_no_classifier(encoder: HookedEncoder, spec: Any, untrained: bool) -> str:
    if untrained:
        return "the weights are random, and so is the classifier"
    outputs = encoder.outputs() if spec.kind != "open_clip" else None
    if outputs is None:
        return "the weights hold no classifier"
    if encoder.final_layer() is None:
        return f"the classifier is not a linear layer on the features at {_layers(encoder)}"
    return f"the names of the classifier's {outputs} outputs are not known; give them with --classes"


def _layers(encoder: HookedEncoder) -> str:
    return joined([f"{layer['layer']} ({layer['pooling']})" for layer in encoder.description["layers"]])


def _loaded(encoder: HookedEncoder) -> str:
    report = encoder.description["checkpoint"]
    return f"{report['tensors_loaded']} of {report['tensors_of_encoder']} tensors from the file" if report else ""


def _explained(entry: Entry, width: int) -> int:
    """Return how many features are explained.

    Raises
    ------
    UserError
        If a number is too large or listed twice.
    """
    chosen = entry.get("features")
    if chosen is None:
        return width
    if isinstance(chosen, dict):
        if chosen["random"] > width:
            raise UserError(f"--features random:{chosen['random']}: the encoder has {width} features; name fewer")
        return chosen["random"]
    numbers = read_feature_file(chosen) if isinstance(chosen, Path) else chosen
    if max(numbers) >= width:
        raise UserError(f"--features: there is no feature {max(numbers)}; the encoder has features 0 to {width - 1}")
    if len(set(numbers)) < len(numbers):
        raise UserError("--features: names a feature twice; name each once")
    return len(numbers)


def check_image_text(entry: Entry) -> None:
    """Check that the image-text encoder exists, and load it if its weights are a file. Nothing is downloaded.

    Raises
    ------
    UserError
        If the model or the tag is unknown, or the file does not fit.
    """
    if entry["kind"] in ("conse", "aligned"):
        return
    file = entry.get("checkpoint")
    spec = _spec(entry)
    check_names(spec, "--image-text")
    if file is None:
        return
    if not file.is_file():
        raise UserError(f"--image-text-checkpoint {file}: no such file")
    loaded(spec, "--image-text-checkpoint")


def find_pairs(pairs: Path) -> tuple[int, int]:
    """Count the images of a table of pairs that are files, and their captions.

    Raises
    ------
    UserError
        If the table cannot be read, or its names are no files below its folder.
    """
    table = read_pairs(str(pairs), "--pairs")
    there = table["image"].map(lambda name: (pairs.parent / name).is_file())
    if not there.any():
        raise UserError(
            f"--pairs {pairs}: names no file in {pairs.parent} (its first is {printable(table['image'][0])}); put the table into the "
            "folder that its names start from"
        )
    return table.loc[there, "image"].nunique(), int(there.sum())


def with_classes(labels: list[str]) -> bool:
    """Return whether two folders or more hold enough images to judge the words of features by, and to fit a probe."""
    return sum(count >= IMAGES_OF_CLASS for label, count in Counter(labels).items() if label) > 1


def classes_of_labels(labels: list[str], classifier: LinearClassifier) -> int:
    """Count the images whose folder names a class of the classifier, as the stage failures matches them."""
    known = {name.casefold() for name in (*classifier.names, *classifier.ids)}
    return sum(label.casefold() in known for label in labels)
