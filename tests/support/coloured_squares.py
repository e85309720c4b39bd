"""Pictures of one coloured square, a network that sees colours, and an image-text encoder that names them."""

import itertools
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 220)}
CAPTIONS = [
    f"a {colour} {thing} {place}"
    for colour, thing, place in itertools.product([*COLOURS, "grey"], ("square", "box", "tile"), ("outside", "indoors"))
]
SIDE, SQUARE = 32, 12


def pictures(count: int = 60) -> list[np.ndarray]:
    """Squares of the three colours in turn, at random places on grey noise."""
    rng = np.random.default_rng(0)
    return [_picture(colour, rng) for colour, _ in zip(itertools.cycle(COLOURS.values()), range(count))]


def _picture(colour: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    picture = np.repeat(rng.integers(90, 130, (SIDE, SIDE, 1), dtype=np.uint8), 3, axis=2)
    top, left = rng.integers(0, SIDE - SQUARE, 2)
    picture[top : top + SQUARE, left : left + SQUARE] = colour
    return picture


class SeesColours(nn.Module):
    """Features 0, 1 and 2 are the areas of red, green and blue; feature 3 is constant. The last layer is a classifier."""

    size, mean, std = SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def __init__(self) -> None:
        super().__init__()
        self.colour = nn.Conv2d(3, 4, 1)
        self.fires = nn.Sequential(nn.ReLU(), nn.AvgPool2d(4))
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            weight = torch.cat([2 * torch.eye(3) - 1, torch.zeros(1, 3)])
            self.colour.weight[:] = weight[:, :, None, None]
            self.colour.bias[:] = torch.tensor([-0.5, -0.5, -0.5, 1.0])

    def forward(self, images):
        return self.head(self.fires(self.colour(images)).mean(dim=(2, 3)))


class NamesColours:
    """An image-text encoder by the mean colour of a picture, and by the name of a colour in a text."""

    def embed_images(self, images):
        means = [np.maximum(image.reshape(-1, 3).astype(float) - 128, 0).mean(axis=0) for image in images]
        return _unit([[*mean, 10] for mean in means])

    def embed_texts(self, texts):
        return _unit([[name in text for name in (*COLOURS, "grey")] for text in texts])


class ColourWords:
    """A sentence encoder: a direction for each colour."""

    dim = 3

    def __init__(self, *_):
        pass

    def embed(self, texts):
        return _unit([[0.1 + 3 * (name in text) for name in COLOURS] for text in texts])


def write_captioned_squares(folder: Path, count: int = 60) -> None:
    """Write pictures, and a table with two captions of each."""
    (folder / "images").mkdir(parents=True)
    lines = ["image\tcaption"]
    for number, (picture, colour) in enumerate(zip(pictures(count), itertools.cycle(COLOURS))):
        name = f"images/{number:02}.png"
        Image.fromarray(picture).save(folder / name)
        lines += [f"{name}\ta {colour} {thing}" for thing in ("box", "tile")]
    (folder / "pairs.tsv").write_text("\n".join(lines))


def _unit(rows):
    rows = np.array(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
