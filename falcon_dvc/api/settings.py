"""Settings of `explain`, with the names and the defaults of params.yaml."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from falcon_dvc.errors import UserError

if TYPE_CHECKING:
    from pydantic import ValidationError

    from falcon_dvc.params import schema


SEEDED = ("find_groups", "find_facets", "ablate_features")


@dataclass(frozen=True)
class ExtractActivations:
    """How the encoder runs; see the section `extract_activations` in params.yaml."""

    batch_size: int = 64
    precision: str = "float32"


@dataclass(frozen=True)
class FindGroups:
    """Which images are selected; see the section `find_groups` in params.yaml."""

    seed: int = 0
    normalise: str = "row"
    rule: str = "quantile"
    top_k: int = 400
    quantile: float = 0.925
    sigma: float = 5.0
    grouping: str = "cofire"
    min_images: int = 11
    max_images: int = 160
    pick: str = "spread"
    max_size: int = 3
    max_groups: int = 60
    fdr: float = 0.05
    max_candidates: int = 20000
    max_jaccard: float = 0.5
    low_images: int = 40
    low_match: str = "distinct"
    redundancy: float = 0.8
    low_similarity: float = 0.3
    random_images: int = 20


@dataclass(frozen=True)
class MineCrops:
    """How images are cropped; see the section `mine_crops` in params.yaml."""

    crop: bool = True
    low_crops: bool = False
    threshold: float = 0.6
    margin: float = 0.15
    min_size: float = 0.3
    embed: str = "crops"
    batch_size: int = 256


@dataclass(frozen=True)
class ParseCaptions:
    """Which words count; see the section `parse_captions` in params.yaml."""

    language: str = "en"
    min_word: int = 3
    synonym_similarity: float = 0.9
    synonym_mentions: int = 10
    discard: tuple[str, ...] = (
        *("photo", "image", "picture", "stock", "free", "wallpaper", "background", "view", "close", "closeup"),
        *("hd", "img", "jpg", "png", "www", "com", "http", "https"),
    )


@dataclass(frozen=True)
class Concepts:
    """How words are scored; see the section `concepts` in params.yaml."""

    captions_per_image: int = 5
    temperature: float = 100.0
    normaliser: str = "retrieved"
    shards: int = 10
    contrast: str = "combined"
    low_cut: float = 0.1
    relative_cut: float = 0.67
    gamma: float = 0.6
    further_cut: float = 0.5
    hub_correction: bool = False
    ranking: str = "correlation"
    score_weight: float = 1.0
    words_from: str = "captions"
    word_weight: float = 0.0
    word_sharpness: float = 10.0
    nearest_weight: float = 0.0
    top: int = 8
    confidence: float = 0.95


@dataclass(frozen=True)
class CaptionImages:
    """Which words are compared with images; see the section `caption_images` in params.yaml."""

    template: str = "a photo of a {}"
    least_mentions: int = 10
    window: float | Literal["off"] = 0.625


@dataclass(frozen=True)
class FindFacets:
    """Which words a feature follows; see the section `find_facets` in params.yaml. The rest of it is for facets and measurements."""

    seed: int = 0
    most_words: int = 5
    candidates: int = 50
    least_gain: float = 0.07
    least_difference: float = 0.1
    least_correlation: float = 0.3
    bootstrap: int = 1000
    confidence: float = 0.95


@dataclass(frozen=True)
class AblateFeatures:
    """How features are removed from a classifier's input; see the section `ablate_features` in params.yaml."""

    seed: int = 0
    images: int = 100
    add: float = 1.0
    directions: int = 200
    bootstrap: int = 1000
    confidence: float = 0.95


@dataclass(frozen=True)
class Settings:
    """Settings of `explain`. A section replaces that of params.yaml: ``Settings(concepts=Concepts(contrast="off"))``."""

    extract_activations: ExtractActivations = field(default_factory=ExtractActivations)
    find_groups: FindGroups = field(default_factory=FindGroups)
    mine_crops: MineCrops = field(default_factory=MineCrops)
    parse_captions: ParseCaptions = field(default_factory=ParseCaptions)
    concepts: Concepts = field(default_factory=Concepts)
    caption_images: CaptionImages = field(default_factory=CaptionImages)
    find_facets: FindFacets = field(default_factory=FindFacets)
    ablate_features: AblateFeatures = field(default_factory=AblateFeatures)


@dataclass(frozen=True)
class Sections:
    """The settings as the stages take them, checked by the schema of params.yaml."""

    extract_activations: schema.ExtractActivations
    find_groups: schema.FindGroups
    mine_crops: schema.MineCrops
    parse_captions: schema.ParseCaptions
    concepts: schema.Concepts
    caption_images: schema.CaptionImages
    find_facets: schema.FindFacets
    ablate_features: schema.AblateFeatures


def checked(settings: Settings, seed: int | None = None) -> Sections:
    """Check settings by the schema of params.yaml.

    Parameters
    ----------
    seed : replaces the seeds of all sections if given.

    Raises
    ------
    UserError
        If a value is impossible, or needs the pipeline.
    """
    from pydantic import ValidationError

    from falcon_dvc.params import schema

    if seed is not None:
        sections = {name: replace(getattr(settings, name), seed=seed) for name in SEEDED}
        settings = replace(settings, **sections)
    _refuse_what_stages_do(settings)
    try:
        return Sections(
            schema.ExtractActivations(**asdict(settings.extract_activations)),
            schema.FindGroups(**asdict(settings.find_groups)),
            schema.MineCrops(**asdict(settings.mine_crops)),
            schema.ParseCaptions(**asdict(settings.parse_captions)),
            schema.Concepts(**asdict(settings.concepts)),
            schema.CaptionImages(**asdict(settings.caption_images)),
            schema.FindFacets(**asdict(settings.find_facets)),
            schema.AblateFeatures(encoders=(), **asdict(settings.ablate_features)),
        )
    except ValidationError as error:
        raise UserError(_one_line(error)) from error


def _refuse_what_stages_do(settings: Settings) -> None:
    """Refuse settings that read artifacts of the pipeline."""
    if settings.mine_crops.embed == "maps":
        raise UserError(
            "settings: MineCrops.embed: only the pipeline has it (params.yaml); leave it at its default here"
        )


def _one_line(error: ValidationError) -> str:
    """Format the first problem as ``settings: FindGroups.rule: should be 'top_k', 'quantile' or 'sigma', got 'most'``."""
    first = error.errors()[0]
    place = ".".join(map(str, (error.title, *first["loc"])))
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return f"settings: {place}: {message}" + ("" if isinstance(first["input"], dict) else f", got {first['input']!r}")
