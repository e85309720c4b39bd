"""The text of a profile: a complete overlay on params.yaml with comments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from falcon_dvc.cli.recipe.request import Entry, control_name
from falcon_dvc.cli.recipe.settings import REFERENCES, Settings
from falcon_dvc.images.decode import printable

COLUMN = 40  # of the comments
LONG_LIST = 20  # entries of a list that gets a line for each
TEMPLATES = ["a photo of a {}"]  # of the words of a vocabulary


@dataclass(frozen=True)
class Recipe:
    """What a profile says.

    Attributes
    ----------
    name : str
        Of the profile and of its encoder.
    default : mapping
        params.yaml, whose encoders, trainings and transfers the profile removes.
    images, captions : str
        Paths relative to the folder of the run.
    caption_column : str
        As in params.yaml.
    encoder, image_text : dict
        Entries, with paths relative to the folder of the run.
    control : dict or None
        The entry of the encoder's control.
    settings : Settings
        For the number of images.
    least_mentions : int
        For the number of captions.
    fails : bool
        Whether failures and units of the classifier are analysed.
    alignment : dict or None
        The entry of the image-text encoder that is learned from pairs.
    labelled : bool
        Whether the folders of the images are classes that words are compared with.
    vocabulary : bool
        Whether the captions are words and phrases.
    notes : mapping
        Comments by key: images, captions, layer, checkpoint, failures, control.
    """

    name: str
    default: Mapping[str, Any]
    images: str
    captions: str
    caption_column: str
    encoder: Entry
    image_text: Entry
    control: Entry | None
    settings: Settings
    least_mentions: int
    fails: bool
    notes: Mapping[str, str]
    alignment: Entry | None = None
    labelled: bool = False
    vocabulary: bool = False

    @property
    def probed(self) -> bool:
        """Whether a linear probe stands in for a classifier."""
        return self.labelled and not self.fails


def profile_text(recipe: Recipe) -> str:
    """Return the profile as YAML with comments."""
    blocks = [
        [
            "# Overlay on params.yaml (null removes a key), which `falcon init` wrote. You can edit it.",
            f"# Run: make repro PROFILE={recipe.name}",
            f"# Paths are relative to runs/{recipe.name}. docs/params.md describes all params.",
        ],
        _switched_off(recipe),
        [_line(0, "device", "auto", "of the networks: auto (a GPU if there is one), cpu, cuda or mps")],
        _data(recipe),
        *([_alignment(recipe.name, recipe.alignment)] if recipe.alignment else []),
        _image_text(recipe.image_text),
        _encoders(recipe),
        _find_groups(recipe.settings, recipe.default["find_groups"]),
        _measure_faithfulness(recipe),
        _ranking(),
        _whole_images(recipe.least_mentions),
        _classifier(recipe),
        *([_classes(recipe)] if recipe.labelled else []),
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _switched_off(recipe: Recipe) -> list[str]:
    """Remove what belongs to the synthetic data set of the default run."""
    removed = {section: dict.fromkeys(recipe.default.get(section) or {}) for section in ("train", "transfers")}
    return [
        _line(0, "worlds", [], "no synthetic data set"),
        _line(0, "train", removed["train"], "trains no encoder"),
        _line(0, "transfers", removed["transfers"], "a transfer needs two encoders"),
    ]


def _data(recipe: Recipe) -> list[str]:
    held_out = "of the images, to measure explanations and failures on; the others are explained"
    few = "all images are explained: there are too few to hold some out, so nothing is measured on held-out images"
    why = held_out if recipe.settings.heldout else few
    return [
        "data:",
        _line(1, "source", "images", "a folder of pictures; docs/images.md has other sources"),
        _line(1, "images", recipe.images, recipe.notes["images"]),
        _line(1, "captions", recipe.captions, recipe.notes["captions"]),
        *([_line(1, "caption_column", recipe.caption_column)] if recipe.caption_column else []),
        *(_vocabulary() if recipe.vocabulary else []),
        _line(1, "heldout", recipe.settings.heldout, why),
    ]


def _whole_images(least_mentions: int) -> list[str]:
    words = "captions that mention a word, so that it is compared with images"
    why = "0.625 also captions four windows of each image, which show small things, in five times the time"
    return ["caption_images:", _line(1, "least_mentions", least_mentions, words), _line(1, "window", "off", why)]


def _vocabulary() -> list[str]:
    return [
        _line(1, "caption_format", "vocabulary", "one word or phrase a line; each stays as it is"),
        _line(1, "caption_templates", TEMPLATES, "texts in which each of them stands"),
    ]


def _alignment(name: str, entry: Entry) -> list[str]:
    """Describe the image-text encoder that is learned."""
    comments = {
        "pairs": "a table with the name of an image and a caption in each row",
        "images": "the folder that the names start from",
        "towers": "networks whose features are mapped to sentences, side by side; entries as in encoders",
    }
    return [
        _commented("alignments:", "image-text encoders to learn from pairs (docs/encoders.md)"),
        f"  {name}:",
        *(_line(2, key, value, comments[key]) for key, value in entry.items()),
        "",
        _line(0, "mine_crops", {"embed": "maps"}, "all crops of an image in one pass of these networks"),
    ]


def _ranking() -> list[str]:
    """Rank words over all images, as was best for photographs (docs/results.md)."""
    return [
        "concepts:",
        _line(1, "contrast", "off", "a correlation over all images contrasts by itself"),
        _line(1, "hub_correction", True, "captions near all images do not hide the others"),
        _line(1, "ranking", "correlation", "words follow the feature over all explained images"),
        _line(1, "score_weight", 0.0, "of the score on the crops"),
        _line(1, "words_from", "corpus", "also words that no caption of a crop mentions"),
        _line(1, "word_weight", 1.0, "of the comparison of all images with the word itself"),
        _line(1, "nearest_weight", 1.0, "of that of the strongest images"),
    ]


def _image_text(entry: Entry) -> list[str]:
    downloaded = "downloaded at the first run; without a network, falcon init --image-text conse needs packages only"
    comments = {
        "kind": "the image-text encoder, which compares crops and captions",
        "checkpoint": "written by the stage align_image_text" if entry["kind"] == "aligned" else "",
        "pretrained": "the weights are the file below" if "checkpoint" in entry else downloaded,
    }
    return ["image_text:", *(_line(1, key, value, comments.get(key, "")) for key, value in entry.items())]


def _encoders(recipe: Recipe) -> list[str]:
    comments = {
        "weights": "random, or released weights, downloaded at the first run",
        "checkpoint": recipe.notes["checkpoint"],
        "classes": "names of the classifier's outputs, in their order",
        "head": "weight and bias of a linear classifier on these features",
        "basis": "what the features are, in place of the channels of the layer (docs/bases.md)",
        "features": "only these are explained",
    }
    lines = [_line(2, key, value, comments.get(key, "")) for key, value in recipe.encoder.items()]
    if "layer" not in recipe.encoder and recipe.notes["layer"]:
        lines.append(
            f"    # layer: the default is {recipe.notes['layer']}; in runs/{recipe.name}, falcon layers {recipe.name} lists all"
        )
    others = [_line(1, key, None) for key in recipe.default.get("encoders") or {}]
    return ["encoders:", *others, f"  {recipe.name}:", *lines, *_control(recipe)]


def _control(recipe: Recipe) -> list[str]:
    """Describe the control of the encoder, or why there is none."""
    if recipe.control is None:
        return [f"  # {recipe.notes['control']}"]
    comments = {
        "control_of": "what it explains by chance decides which features of this encoder are explained",
        "features": "fewer cost less, but more features of the encoder must then exceed them all",
    }
    lines = [_line(2, key, value, comments.get(key, "")) for key, value in recipe.control.items()]
    return [
        "  # The control: the same network with random weights. Without it, no feature has the verdict `explained` (docs/encoders.md).",
        f"  {control_name(recipe.name)}:",
        *lines,
    ]


def _measure_faithfulness(recipe: Recipe) -> list[str]:
    """Set the number of copies with random weights that give the level of each word."""
    copies = REFERENCES if recipe.control else 0
    few = "more copies of the encoder with random weights, on held-out images only; few, as each is one more pass over them"
    comment = few if recipe.control else "they are of no use without a control"
    return ["measure_faithfulness:", _line(1, "reference_encoders", copies, comment)]


def _find_groups(settings: Settings, default: Mapping[str, Any]) -> list[str]:
    """Set the values that depend on the number of images; a comment says how they differ from params.yaml, and why."""
    comments = {
        "quantile": f"a feature fires on {settings.fires} of {settings.explained} images",
        "min_images": "a feature or group that fires on fewer images is not explained",
        "max_images": "of a feature that are cropped; each crop costs a pass of the image-text encoder",
        "max_jaccard": "largest overlap of a group with a feature",
        "low_images": "compared with the highly activating ones; each costs a pass too",
        "random_images": "of each feature, for the prior and chance levels",
    }
    reasons = {
        "quantile": "leaves too few of so few images",
        "min_images": "is too many for so few images",
        "max_jaccard": "leaves almost no group of so few images",
    }
    for key, reason in reasons.items():
        if getattr(settings, key) != default[key]:
            comments[key] += f"; the default, {default[key]}, {reason}"
    return [
        _commented("find_groups:", f"chosen for {settings.explained} images"),
        *(_line(1, key, getattr(settings, key), why) for key, why in comments.items()),
    ]


def _classifier(recipe: Recipe) -> list[str]:
    on = {"encoders": [recipe.name] if recipe.fails else []}
    probed = {"encoders": [recipe.name]}
    by_probe = "of a linear probe on the folders of the images, as no classifier names them"
    return [
        *([_line(0, "fit_probe", probed, by_probe)] if recipe.probed else []),
        _line(0, "failures", probed if recipe.probed else on, recipe.notes["failures"]),
        _line(0, "ablate_features", probed if recipe.probed else on, "what the logits do without each feature"),
        _line(0, "evaluate_units", on, "explains the outputs of the classifier" if recipe.fails else "the same"),
    ]


def _classes(recipe: Recipe) -> list[str]:
    comment = "features that follow a folder: do their words name it? `names` lists the words of each"
    return [_line(0, "evaluate_classes", {"encoders": [recipe.name]}, comment)]


def _line(depth: int, key: str, value: Any, comment: str = "") -> str:
    """Return a key with its value and its comment. A long list gets a line for each entry."""
    indent = "  " * depth
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > LONG_LIST:
        items = (f"{indent}  - {inline(item)}" for item in value)
        return "\n".join([_commented(f"{indent}{key}:", comment), *items])
    return _commented(f"{indent}{key}: {inline(value)}", comment)


def _commented(text: str, comment: str) -> str:
    """Return a line with its comment in the column of the comments, or above it if the line is too long."""
    if not comment:
        return text
    comment = f"# {printable(' '.join(comment.split()))}"
    if len(text) < COLUMN:
        return f"{text:<{COLUMN}}{comment}"
    return f"{' ' * (len(text) - len(text.lstrip()))}{comment}\n{text}"


def inline(value: Any) -> str:
    """Return a value as YAML on one line."""
    yaml, out = YAML(typ="safe", pure=True), StringIO()
    yaml.default_flow_style, yaml.width, yaml.sort_base_mapping_type_on_output = True, 1_000_000, False  # type: ignore[assignment]
    yaml.dump({"key": value}, out)
    return out.getvalue().strip().removeprefix("{key: ").removesuffix("}")
