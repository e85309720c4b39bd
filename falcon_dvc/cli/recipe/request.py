"""The arguments of `falcon init`, and the entries of a profile that they ask for. Nothing is opened but a list of names.

In an entry, a path is a `Path` as the user gave it. All other values are as params.yaml has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.request import basis_entry
from falcon_dvc.models.encoders.packaged import is_packaged
from falcon_dvc.models.open_clip import FOLDER, NAMED, REPOSITORIES
from falcon_dvc.placeholders import refuse_placeholders

KINDS = ("torchvision", "timm", "open_clip", "efficientnet_lite")
# Published on LAION-2B, and the smallest of the usual sizes.
DEFAULT_IMAGE_TEXT = "open_clip:ViT-B-32/laion2b_s34b_b79k"
# Of a control. The smallest p-value is 1 / (as many + 1): at an FDR of 0.05, 16 % of the features must reach it. With 64 it is 31 %.
CONTROL_FEATURES = 128
# A network of a package, whose features a linear map takes to the captions of pairs.
TOWERS = ({"kind": "efficientnet_lite", "variant": 2},)
WEIGHTS = ("checkpoint", "classes", "head")  # keys of an entry that belong to trained weights
Entry = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """The arguments of `falcon init`. A path is relative to the current folder, and an empty text means not given."""

    name: str
    images: Path
    captions: Path
    encoder: str
    checkpoint: Path | None = None
    weights: str = ""
    classes: str = ""
    head: Path | None = None
    layer: str = ""
    pooling: str = ""
    features: str = ""
    basis: str = ""
    both_signs: bool = False
    image_text: str = ""
    image_text_checkpoint: Path | None = None
    pairs: Path | None = None
    caption_column: str = ""
    vocabulary: bool = False
    control: bool = True
    force: bool = False


def encoder_entry(request: Request) -> Entry:
    """Return the entry of the encoder in the section ``encoders``.

    Raises
    ------
    UserError
        If an option is missing, malformed or contradicts another.
    """
    kind, _, name = request.encoder.partition(":")
    if kind not in KINDS or not name:
        known = ", ".join(f"{one}:NAME" for one in KINDS[:-1])
        raise UserError(
            f"--encoder {request.encoder}: write {known} or efficientnet_lite:0; docs/encoders.md has your own networks"
        )
    if request.head and not request.classes:
        raise UserError(f"--head {request.head}: name its outputs too, in their order: --classes cat,dog")
    entry = _lite(request, name) if kind == "efficientnet_lite" else _network(request, kind, name)
    options = {
        "layer": _one_or_more(request.layer),
        "pooling": request.pooling,
        "classes": class_names(request.classes),
        "head": request.head,
        "basis": _basis(request),
        "features": chosen_features(request.features),
    }
    return entry | {key: value for key, value in options.items() if value}


def _basis(request: Request) -> Entry | None:
    """Return what the features are expressed in, in place of the channels of the layer; None without a choice."""
    if not request.basis:
        if request.both_signs:
            raise UserError("--both-signs: divides the features of a basis; name one with --basis")
        return None
    return basis_entry(request.basis, "--basis") | ({"both_signs": True} if request.both_signs else {})


def _lite(request: Request, variant: str) -> Entry:
    """Return the entry of a network whose weights are in a package."""
    given = [f"--{key}" for key in ("checkpoint", "weights", "layer", "pooling") if getattr(request, key)]
    if given:
        raise UserError(f"{given[0]}: efficientnet_lite has fixed weights and one layer; leave {given[0]} out")
    if variant not in ("0", "1", "2"):
        raise UserError(f"--encoder efficientnet_lite:{variant}: use efficientnet_lite:0, :1 or :2")
    return {"kind": "efficientnet_lite", "variant": int(variant)}


def _network(request: Request, kind: str, name: str) -> Entry:
    """Return kind, name and weights of a network of a library."""
    name, tag = split_tag(name) if kind == "open_clip" else (name, "")
    if kind == "open_clip" and name.startswith(REPOSITORIES) and not (request.weights or request.checkpoint):
        return {"kind": kind, "name": name, "pretrained": NAMED}
    weights = request.weights or tag
    if bool(weights) == bool(request.checkpoint):
        raise UserError(
            f"--encoder {request.encoder}: give --checkpoint FILE, --weights random, or --weights with the tag of released "
            f"weights{'; only one of them' if weights else ''}"
        )
    if request.checkpoint:
        return {"kind": kind, "name": name, "checkpoint": request.checkpoint}
    if kind == "timm" and weights not in ("random", "pretrained") and not is_packaged(weights):
        name, weights = f"{name.partition('.')[0]}.{weights}", "pretrained"
    return {"kind": kind, "name": name, "pretrained" if kind == "open_clip" else "weights": weights}


def split_tag(text: str) -> tuple[str, str]:
    """Split MODEL/TAG. Names of repositories and folders contain slashes, and have no tag."""
    name, _, tag = (text, "", "") if text.startswith(REPOSITORIES) else text.partition("/")
    return name, tag


def control_name(name: str) -> str:
    """Return the name of the control of an encoder."""
    return f"{name}_untrained"


def control_entry(name: str, encoder: Entry, features: int) -> Entry:
    """Return the entry of a control: the same network with random weights, of which some features are explained.

    Parameters
    ----------
    name, encoder
        Of the encoder that it is a control of.
    features
        How many the encoder has.
    """
    architecture = {key: value for key, value in encoder.items() if key not in WEIGHTS}
    source = "pretrained" if encoder["kind"] == "open_clip" else "weights"
    chosen = {"random": min(CONTROL_FEATURES, features)}
    return architecture | {source: "random", "seed": 1, "control_of": [name], "features": chosen}


def _one_or_more(text: str) -> str | list[str]:
    """Return a name, or the list of names that commas separate."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return names[0] if len(names) == 1 else names


def class_names(text: str) -> str | list[str]:
    """Return the names of the classes in the order of the outputs: ``imagenet``, names with commas, or those of a file.

    Raises
    ------
    UserError
        If it is a single name and no file, or a file that cannot be read or is empty.
    """
    if text in ("", "imagenet"):
        return text
    path = Path(text)
    names = _lines(path, "--classes") if path.is_file() else [name.strip() for name in text.split(",")]
    if len(names) < 2 and not path.is_file():
        raise UserError(f"--classes {text}: no such file; give cat,dog or a file with one name a line")
    if not names or "" in names:
        raise UserError(f"--classes {text}: holds an empty name; name every output, in the order of the outputs")
    return names


def chosen_features(text: str) -> list[int] | dict[str, int] | Path | None:
    """Return the features to explain: numbers with commas, ``random:N``, or a file; None for all.

    Raises
    ------
    UserError
        If it is none of these.
    """
    kind, _, count = text.partition(":")
    if kind == "random" and count.isdecimal() and int(count):
        return {"random": int(count)}
    parts = [part.strip() for part in text.split(",")]
    if all(part.isdecimal() for part in parts):
        return [int(part) for part in parts]
    if text and not Path(text).is_file():
        raise UserError(f"--features {text}: no such file; give numbers (3,17,200), random:30, or a file of numbers")
    return Path(text) if text else None


def _lines(path: Path, option: str) -> list[str]:
    """Read the lines of a text file without white space at their ends; the last one may be empty."""
    refuse_placeholders([path], option)
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{option} {path}: cannot be read ({error}); give a text file with one entry a line") from error


def image_text_entry(request: Request) -> Entry:
    """Return the section ``image_text``. Without a choice of the user it is `DEFAULT_IMAGE_TEXT`.

    Raises
    ------
    UserError
        If the option is malformed, or no weights are named.
    """
    text, file = request.image_text or DEFAULT_IMAGE_TEXT, request.image_text_checkpoint
    if request.pairs:
        return _aligned(request)
    if text == "conse" and not file:
        return {"kind": "conse"}
    kind, _, model = text.partition(":")
    name, tag = split_tag(model)
    if kind != "open_clip" or not name:
        raise UserError(f"--image-text {text}: write open_clip:MODEL/TAG, open_clip:MODEL with a file, or conse")
    if name.startswith(REPOSITORIES) and not file:
        return {"kind": kind, "name": name, "pretrained": NAMED}
    if file and request.image_text and not tag:
        return {"kind": kind, "name": name, "pretrained": "checkpoint", "checkpoint": file}
    if file or not tag:
        raise UserError(
            f"--image-text {request.image_text or '(not given)'}: name either a tag (open_clip:{name}/TAG) "
            f"or a file (--image-text open_clip:{name} --image-text-checkpoint FILE)"
        )
    return {"kind": kind, "name": name, "pretrained": tag}


def _aligned(request: Request) -> Entry:
    """Return the section ``image_text`` of an encoder that is learned from pairs."""
    if request.image_text or request.image_text_checkpoint:
        raise UserError(f"--pairs {request.pairs}: teaches an image-text encoder of its own; leave --image-text out")
    return aligned_entry(request.name)


def aligned_entry(name: str) -> Entry:
    """Return the section ``image_text`` for the encoder `name` that the section ``alignments`` describes."""
    return {"kind": "aligned", "checkpoint": f"data/alignments/{name}.safetensors"}


def alignment_entry(pairs: Path) -> Entry:
    """Return the entry in the section ``alignments`` of an encoder that is learned from a table of pairs."""
    return {"pairs": pairs, "images": pairs.parent, "towers": list(TOWERS)}


def with_paths(entry: Entry, write: Any) -> Entry:
    """Return the entry with its paths as texts, each by a call of `write`."""
    texts = {
        key: write(value) if isinstance(value, Path) else with_paths(value, write) if isinstance(value, dict) else value
        for key, value in entry.items()
    }
    name = str(entry.get("name"))
    return {**texts, "name": f"{FOLDER}{write(Path(name.removeprefix(FOLDER)))}"} if name.startswith(FOLDER) else texts


def joined(names: Sequence[str], most: int = 5) -> str:
    """List the first names in one line, and say how many there are if these are not all."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"
