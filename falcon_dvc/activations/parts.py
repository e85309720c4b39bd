"""The parts of a feature's range of activations that tables, pages and the command line show. It imports no package."""

from collections.abc import Mapping

DECILES = 10
OFF = DECILES  # number of the images that do not activate the feature
# Parts that tables and pages show: first and last decile, from 0.
PARTS: Mapping[str, tuple[int, int]] = {
    "top_decile": (0, 1),
    "deciles_2_to_5": (1, 5),
    "deciles_6_to_10": (5, DECILES),
    "not_active": (OFF, OFF + 1),
}
PLACES = {  # of each part, in a sentence
    "top_decile": "in the top decile",
    "deciles_2_to_5": "in deciles 2 to 5",
    "deciles_6_to_10": "in deciles 6 to 10",
    "not_active": "where it is not active",
}
