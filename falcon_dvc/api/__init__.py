"""Explain features in memory, for notebooks: arrays and lists in, tables out, without DVC and params.yaml."""

from falcon_dvc.api.encoders import network
from falcon_dvc.api.explanation import explain
from falcon_dvc.api.settings import (
    AblateFeatures,
    CaptionImages,
    Concepts,
    ExtractActivations,
    FindFacets,
    FindGroups,
    MineCrops,
    ParseCaptions,
    Settings,
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
