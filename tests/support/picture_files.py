"""Picture files of one colour."""

from pathlib import Path

from PIL import Image

RED, GREEN, WHITE = (255, 0, 0), (0, 128, 0), (255, 255, 255)


def save(path: Path, image: Image.Image, **options) -> Path:
    """Save a picture, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def picture(path: Path, size: tuple[int, int] = (4, 3), colour=RED, mode: str = "RGB", **options) -> Path:
    """Save a picture of one colour."""
    return save(path, Image.new(mode, size, colour), **options)
