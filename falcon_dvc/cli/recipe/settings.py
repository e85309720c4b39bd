"""Settings of a run that depend on the number of images: how many are held out, and how many fire a feature."""

from dataclasses import dataclass

from falcon_dvc.errors import UserError

LEAST = 25  # images to explain: of fewer, no feature has five highly activating ones
SHARE, LARGEST_SHARE = 0.075, 0.2  # of the images to explain that are highly activating: as in params.yaml, and at most
WANTED = 16  # highly activating images of a feature, where a share of at most LARGEST_SHARE gives them
FEWEST, USUAL = (
    5,
    11,
)  # highly activating images without which a feature is not explained: at least, and as in params.yaml
MOST = 40  # highly activating images of a feature that are cropped
COMPARED = 10  # lowly activating and random images of a feature, each
FEW_TO_HOLD_OUT, MANY = 150, 1000  # images
REFERENCES = (
    2  # copies of the encoder with random weights; few, as each passes over all held-out images and has many features
)

MANY_CAPTIONS, RARE = 10_000, 4  # of many captions, words that fewer than RARE mention are not compared with images


@dataclass(frozen=True)
class Settings:
    """Values of params.yaml for a number of images.

    Attributes
    ----------
    heldout : float
        ``data.heldout``.
    explained : int
        Images that are not held out.
    quantile, min_images, max_images, max_jaccard, low_images, random_images
        Of the section ``find_groups``.
    fires : int
        Highly activating images of a feature without equal values.
    """

    heldout: float
    explained: int
    quantile: float
    min_images: int
    max_images: int
    max_jaccard: float
    low_images: int
    random_images: int
    fires: int

    @property
    def crops(self) -> int:
        """Crops of a feature, at most."""
        return min(self.fires, self.max_images) + self.low_images + self.random_images


def least_mentions_for(captions: int) -> int:
    """Choose `caption_images.least_mentions`. Of few captions every word counts: one without an embedding has fewer terms."""
    return RARE if captions >= MANY_CAPTIONS else 1


def settings_for(images: int) -> Settings:
    """Choose the settings for a number of readable images.

    Raises
    ------
    UserError
        If the images are too few.
    """
    heldout = _heldout(images)
    explained = images - round(heldout * images)
    if explained < LEAST:
        raise UserError(f"--images: {images} readable images; a feature needs at least {LEAST} images, so add some")
    share = min(max(WANTED / explained, SHARE), LARGEST_SHARE)
    quantile = round(1 - share, 3)
    fires = explained - _rank(quantile, explained)
    least = min(max(fires // 2, FEWEST), USUAL)
    return Settings(
        heldout=heldout,
        explained=explained,
        quantile=quantile,
        min_images=least,
        max_images=MOST,
        max_jaccard=0.5 if fires >= 4 * least else 0.75,
        low_images=COMPARED,
        random_images=COMPARED,
        fires=fires,
    )


def _heldout(images: int) -> float:
    if images < FEW_TO_HOLD_OUT:
        return 0.0
    return 0.33 if images < MANY else 0.5


def _rank(quantile: float, images: int) -> int:
    """Return how many of as many different values lie below their quantile (linear interpolation)."""
    place = quantile * (images - 1)
    return int(place) + (place > int(place))
