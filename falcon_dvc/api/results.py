"""The result of `explain`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from falcon_dvc.concepts.words.listing import explanations_in_words
from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import cut, resized

if TYPE_CHECKING:
    from falcon_dvc.concepts.scoring.corpus import Corpus
    from falcon_dvc.concepts.scoring.explanation import Captioned
    from falcon_dvc.images.source import ImageSource

DECIMALS = 6  # as in the retrieval
BOX = ["left", "top", "right", "bottom"]


@dataclass(frozen=True, repr=False)
class Explained:
    """Hold explanations. The columns of the tables are those of the files in docs/artifacts.md.

    Attributes
    ----------
    groups : DataFrame
        A row for each explained feature or group: ``group``, ``members``, ``size``, ``support``, ...
    concepts : DataFrame
        Kept and removed concepts of each group: ``group``, ``kind``, ``rank``, ``concept``, ``score``, ``low_score``,
        ``prior``, ``interval_low``, ``interval_high``, ``kept``, ``reason``, ...
    captions : DataFrame
        Captions of each crop, nearest first: ``crop`` (row of `crops`), ``group``, ``role``, ``caption`` (number),
        ``text``, ``similarity`` (cosine), ``weight``.
    crops : DataFrame
        ``group``, ``role``, ``rank``, ``image`` (number), ``left``, ``top``, ``right``, ``bottom``, ``empty``,
        ``activation`` (row-normalised).
    heatmaps : (crops, height, width) uint8 array
        Where the group fires in what the encoder sees of the image; 255 is the maximum.
    sets : DataFrame
        The words that each feature follows over whole images: ``group``, ``sentence`` ("blue or purple, not sand (R² 0.61)"),
        ``words`` (that raise it), ``not_words`` (that lower it), ``gains``, ``gains_low``, ``gains_high``, ``r2``, ...
    quantiles : DataFrame
        Four rows for each feature: the mean score of the first word by part of the activation. The columns are those of
        ``E_quantiles.csv``. The images that chose the words also measure them.
    ablation : DataFrame or None
        What the removal of each feature does to the classifier's logits, if one was given. The columns are those of
        ``E_ablation.csv``.
    """

    groups: pd.DataFrame
    concepts: pd.DataFrame
    captions: pd.DataFrame
    crops: pd.DataFrame
    heatmaps: np.ndarray
    sets: pd.DataFrame
    quantiles: pd.DataFrame
    ablation: pd.DataFrame | None
    _source: ImageSource

    @property
    def sentence(self) -> dict[str, str]:
        """The words that each feature follows, as a sentence; "" if it follows none."""
        return dict(zip(self.sets["group"], self.sets["sentence"], strict=True))

    def summary(self) -> pd.DataFrame:
        """List each group with its sentence, kept words and phrases, and removed words, as texts."""
        table = explanations_in_words(self.groups, self.concepts)
        table.insert(table.columns.get_loc("words"), "sentence", table["group"].map(self.sentence).fillna(""))
        return table

    def picture(self, feature: int | str, count: int = 8, size: int = 96) -> Image.Image:
        """Draw the strongest crops of a feature or group side by side.

        Parameters
        ----------
        feature : number of a feature, or id of a group.
        count : most crops.
        size : side of a crop, in pixels.

        Raises
        ------
        UserError
            If it was not explained.
        """
        group = f"f{feature}" if isinstance(feature, (int, np.integer)) else feature
        crops = self.crops[(self.crops["group"] == group) & (self.crops["role"] == "high")]
        if not len(crops):
            raise UserError(f"feature: {feature} was not explained; groups lists what was")
        cuts = [
            resized(cut(self._source.load(image), tuple(box)), size)
            for image, box in zip(crops["image"][:count], crops[BOX].to_numpy().tolist(), strict=False)
        ]
        return Image.fromarray(np.concatenate(cuts, axis=1))

    def __repr__(self) -> str:
        return f"Explained({len(self.groups)} groups, {len(self.concepts)} concepts, {len(self.crops)} crops)"

    def _repr_html_(self) -> str:
        """Return the summary as a table; texts are escaped."""
        return self.summary().to_html(index=False, max_rows=20, escape=True)


def caption_table(
    crops: pd.DataFrame, captioned: Captioned, embeddings: np.ndarray, corpus: Corpus, texts: pd.Series
) -> pd.DataFrame:
    """List the captions of each crop, nearest first.

    Parameters
    ----------
    embeddings : (crops, dim) of the crops.
    texts : text of each caption, by number.
    """
    crop, slot = np.nonzero(captioned.captions >= 0)
    caption = captioned.captions[crop, slot]
    places = np.searchsorted(corpus.captions["caption"].to_numpy(), caption)
    rows = [array.astype(np.float64) for array in (embeddings[crop], corpus.embeddings[places])]
    return pd.DataFrame(
        {
            "crop": crop,
            "group": crops["group"].to_numpy()[crop],
            "role": crops["role"].to_numpy()[crop],
            "caption": caption,
            "text": texts.loc[caption].to_numpy(),
            "similarity": np.round(np.einsum("ij,ij->i", *rows), DECIMALS),
            "weight": captioned.weights[crop, slot],
        }
    )
