"""FALCON: what the features of an image representation see.

The method is pure functions on arrays (`groups`, `crops.heatmaps`, `concepts`, `evaluation`, `failures.blame`, `transfer.maps`);
the stages of ``dvc.yaml`` are made of this library.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from falcon_dvc.api.encoders import network
    from falcon_dvc.api.explain import explain
    from falcon_dvc.api.settings import Concepts, ExtractActivations, FindGroups, MineCrops, ParseCaptions, Settings

__all__ = [
    "Concepts",
    "ExtractActivations",
    "FindGroups",
    "MineCrops",
    "ParseCaptions",
    "Settings",
    "explain",
    "network",
]
_MODULES = {"explain": "explain", "network": "encoders"}


def __getattr__(name: str) -> Any:
    """Import what notebooks use on its first use, so that importing this package is fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"falcon_dvc.api.{_MODULES.get(name, 'settings')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
