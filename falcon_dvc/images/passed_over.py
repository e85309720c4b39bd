"""Files of a source that look like pictures or shards, but that are not read: by the reason, with what to do."""

from collections.abc import Callable, Iterable, Mapping

from falcon_dvc.images.decode import printable
from falcon_dvc.images.kinds import SAVE

EXAMPLES = 5
PassedOver = Mapping[str, list[str]]
MISNAMED = "holds a picture, but its suffix is not one of a picture; rename it"


def grouped(names: Iterable[str], reason: Callable[[str], str | None]) -> dict[str, list[str]]:
    """Group the names for which there is a reason, by the reason."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if said := reason(name):
            groups.setdefault(said, []).append(name)
    return groups


def not_read(kind: str) -> str:
    """Return the reason for a kind of picture that is not read."""
    return f"{kind} is not read; {SAVE}"


def packed(command: str) -> str:
    """Return the reason for an archive that must be unpacked."""
    then = ", then set data.source to images" if command in ("unzip", "7z x") else ""
    return f"packed files are not read; unpack with `{command}`{then}"


def count(groups: PassedOver) -> int:
    """Count the names of all groups."""
    return sum(len(names) for names in groups.values())


def lines(groups: PassedOver) -> list[str]:
    """Describe each group in a line with its number and `EXAMPLES` names: ``3 files (a.heic, b.heic, c.heic): reason``."""
    return [f"{_counted(names)}: {reason}" for reason, names in groups.items()]


def _counted(names: list[str]) -> str:
    if len(names) == 1:
        return printable(names[0])
    shown = [printable(name) for name in names[:EXAMPLES]] + ["..."] * (len(names) > EXAMPLES)
    return f"{len(names)} files ({', '.join(shown)})"
