"""The constants of the released code, which ``compat: released`` sets."""

from typing import Any

# Values of the authors' code (falcon-explain, 2023) in every step where this project differs by choice.
# Defects of that code (batch statistics, the wrong tensor for Grad-CAM, crashes) are not reproduced.
RELEASED: dict[str, dict[str, Any]] = {
    "find_groups": {
        "normalise": "row",
        "rule": "sigma",
        "sigma": 5.0,
        "grouping": "exact",
        "min_images": 11,
        "max_images": 1_000_000,
        "low_images": 10,
        "low_similarity": 0.3,
        "low_match": "released",
    },
    "mine_crops": {"threshold": 0.6, "margin": 0.0, "min_size": 0.0, "low_crops": False},
    "parse_captions": {"min_word": 3, "synonym_similarity": 2.0},
    "concepts": {
        "captions_per_image": 5,
        "temperature": 100.0,
        "normaliser": "shard",
        "contrast": "released",
        "low_cut": 0.1,
        "hub_correction": False,
        "ranking": "score",
        "words_from": "captions",
        "top": 8,
    },
}
