"""Which values of params.yaml a stage really reads: every attribute of every section, noted while the stage runs."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from falcon_dvc.params.released import RELEASED
from falcon_dvc.params.schema import Params, Section

Leaf = tuple[str, ...]  # keys that lead to a value of params.yaml
# Whoever asks for these sees all fields of a section at once: dict(section), section == other, copies and pickles of it.
ALL_FIELDS = {"__dict__", "__iter__", "__eq__", "__getstate__", "__reduce_ex__", "__copy__", "__deepcopy__"}
ALL_FIELDS |= {"__repr__", "__str__", "__rich_repr__", "__pydantic_serializer__"}
ALL_FIELDS |= {"model_dump_json", "copy"}
# Where a stage computes: what it computes is the same (tests/pipeline/test_ray.py), so DVC must not run it again for that.
WITHOUT_EFFECT = {"executor", "ray", "device"}
KEYS = "*"  # stands for the keys of a section that is keyed by names: encoders.*


class Recorder:
    """Notes what is read of some params.

    Parameters
    ----------
    params
        As `load_params` gives them; other sections with the same values are not noted.
    """

    def __init__(self, params: Params) -> None:
        self._place: dict[int, Leaf] = {}
        self._read: set[Leaf] = set()
        self._replaced: dict[int, set[str]] = {}  # fields of copies that have other values
        self._note_places(params, ())
        self._kept: list[Section] = [params]  # an id is only good as long as its object lives

    def _note_places(self, section: Section, place: Leaf) -> None:
        self._place[id(section)] = place
        for name, value in vars(section).items():
            here = (*place, name)
            if isinstance(value, Section):
                self._note_places(value, here)
            elif isinstance(value, dict):
                vars(section)[name] = watched = _Watched(value, lambda here=here: self._read.add((*here, KEYS)))
                for key, inner in dict.items(watched):
                    self._note_places(inner, (*here, key))

    def note(self, section: Section, name: str) -> None:
        """One attribute of one section was asked for."""
        place = self._place.get(id(section))
        if place is None:
            return
        fields = self._own_fields(section)
        if name in fields:
            self._read |= set(_leaves(fields[name], (*place, name)))
        elif name in ALL_FIELDS:
            self._note_all(section)

    def _own_fields(self, section: Section) -> dict[str, Any]:
        """The values that a section has from params.yaml."""
        replaced = self._replaced.get(id(section), set())
        return {
            name: value for name, value in object.__getattribute__(section, "__dict__").items() if name not in replaced
        }

    def _note_all(self, section: Section, but: Collection[str] = ()) -> None:
        place = self._place.get(id(section))
        if place is not None:
            fields = self._own_fields(section).items()
            self._read |= {leaf for key, value in fields if key not in but for leaf in _whole(value, (*place, key))}

    def _note_copy(self, section: Section, copy: Section, other: Collection[str]) -> None:
        """What is read of a copy is read of the section, but for the fields with other values."""
        if id(section) in self._place:
            self._kept.append(copy)
            self._place[id(copy)] = self._place[id(section)]
            self._replaced[id(copy)] = self._replaced.get(id(section), set()) | set(other)

    @contextmanager
    def recording(self) -> Iterator[set[Leaf]]:
        """What is read inside: the values, and of sections that are keyed by names whether all names were."""
        found: set[Leaf] = set()
        before, self._read = self._read, found
        plain, dump, copied = Section.__getattribute__, Section.model_dump, Section.model_copy

        def noting(section: Section, name: str) -> Any:
            self.note(section, name)
            return plain(section, name)

        def dumping(section: Section, **options: Any) -> dict[str, Any]:
            self._note_all(section, options.get("exclude") or ())
            with self._unnoted():
                return dump(section, **options)

        def copying(section: Section, *, update: dict[str, Any] | None = None) -> Section:
            with self._unnoted():
                copy = copied(section, update=update)
            self._note_copy(section, copy, update or {})
            return copy

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Section, "__getattribute__", noting)
            patch.setattr(Section, "model_dump", dumping)
            patch.setattr(Section, "model_copy", copying)
            yield found
        self._read = before
        found |= _by_compat(found)
        found -= {leaf for leaf in found if leaf[0] in WITHOUT_EFFECT}

    @contextmanager
    def _unnoted(self) -> Iterator[None]:
        """What is read inside does not count."""
        before, self._read = self._read, set()
        try:
            yield
        finally:
            self._read = before


class _Watched(dict):
    """A section that is keyed by names; one name looked up says nothing about the others."""

    def __init__(self, content: dict, seen: Any) -> None:
        super().__init__(content)
        self._seen = seen

    def __iter__(self):
        self._seen()
        return super().__iter__()

    def __len__(self):
        self._seen()
        return super().__len__()

    def keys(self):
        self._seen()
        return super().keys()

    def values(self):
        self._seen()
        return super().values()

    def items(self):
        self._seen()
        return super().items()


def _leaves(value: Any, place: Leaf) -> Iterator[Leaf]:
    """A value that is no section: the way to a section says nothing about what is read of it."""
    if not isinstance(value, (Section, dict)):
        yield place


def _whole(value: Any, place: Leaf) -> Iterator[Leaf]:
    """Every value of a section."""
    if isinstance(value, Section):
        value = object.__getattribute__(value, "__dict__")
    if not isinstance(value, dict):
        yield place
        return
    for key, inner in dict.items(value):
        yield from _whole(inner, (*place, key))


def _by_compat(read: set[Leaf]) -> set[Leaf]:
    """``compat`` decides what some values are before any stage sees them."""
    return {("compat",) for section, name in (leaf[:2] for leaf in read if len(leaf) > 1) if name in RELEASED.get(section, {})}  # fmt: skip


def leaves(content: Any, place: Leaf = ()) -> Iterator[Leaf]:
    """Every value of params.yaml as it is written."""
    if not isinstance(content, dict) or not content:
        yield place
        return
    for key, value in content.items():
        yield from leaves(value, (*place, str(key)))
