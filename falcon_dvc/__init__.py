"""FALCON: what the features of an image representation see.

The method is pure functions on arrays (`groups`, `crops.heatmaps`, `concepts`, `evaluation`, `failures.blame`, `transfer.maps`);
the stages of ``dvc.yaml`` are made of this library.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from falcon_dvc.api import (
        AblateFeatures,
        CaptionImages,
        Concepts,
        ExtractActivations,
        FindFacets,
        FindGroups,
        MineCrops,
        ParseCaptions,
        Settings,
        explain,
        network,
    )

__all__ = [
    "AblateFeatures",
    "CaptionImages",
    "Concepts",
    "ExtractActivations",
    "FindFacets",
    "FindGroups",
    "MineCrops",
    "ParseCaptions",
    "Settings",
    "explain",
    "network",
]


def __getattr__(name: str) -> Any:
    """Import what notebooks use on its first use, so that importing this package is fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from falcon_dvc import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
