"""Which stages a change of a param must run again, and which DVC would: what the code reads against what dvc.yaml declares."""

import copy
import importlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pandas as pd
import pytest
import torch

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.images.open import open_images
from falcon_dvc.models.image_text import aligned
from falcon_dvc.params.load import merge, read_yaml, validated
from falcon_dvc.params.schema import EncoderSpec, Params
from tests.support.coloured_squares import ColourWords, write_captioned_squares
from tests.support.image_sources import as_folder, as_list, mnist
from tests.support.paths import ROOT
from tests.support.recorder import KEYS, Leaf, Recorder, leaves
from tests.support.sample_images import coloured
from tests.support.tiny_models import TINY_COCA

Stage = tuple[str, ...]  # its name, and the key that it runs for
Reads = dict[Stage, set[Leaf]]

PIPELINE = read_yaml(ROOT / "dvc.yaml")["stages"]
BY_FILE = ("check_params",)  # depends on params.yaml as a file: any change of it runs this stage
OTHER_SOURCES: dict[str, dict] = {
    "images": {"source": "images", "images": "pictures"},
    "list": {"source": "list", "images": "listed", "list": "images.csv"},
    "torchvision": {"source": "torchvision", "images": "mnist", "dataset": "MNIST", "dataset_split": "test"},
}
ENCODER_FIELDS = {field for kind in get_args(get_args(EncoderSpec)[0]) for field in kind.model_fields}
OF_EVERY_KIND = {"features", "control_of"}  # fields of an encoder that are read by their names
HUMAN_CAPTIONS = {"encoders": ["supervised"], "pairs": "pairs.tsv"}
ALIGNMENTS = {
    "own": {
        "pairs": "taught/pairs.tsv", "images": "taught", "sentences": "folder", "conse": 0.0, "checkpoint": "pins/alignments.own.txt",
        "towers": [{"kind": "scenes", "checkpoint": "models/supervised.safetensors"}],
    }
}  # fmt: skip
OTHER_INDEX = {"index": "ivf", "nlist": 2, "nprobe": 2, "train": 100, "least_recall": 0.0, "recall_crops": 20}


def resolved(folder: Path, content: dict) -> dict[Stage, Any]:
    """The stages of dvc.yaml as DVC itself resolves them with some params, in an empty folder."""
    from dvc.repo import Repo

    shutil.copyfile(ROOT / "dvc.yaml", folder / "dvc.yaml")
    (folder / "params.yaml").write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    with Repo.init(str(folder), no_scm=True) as repo:
        return {stage_of(stage.cmd): stage for stage in repo.index.stages}


def stage_of(command: str) -> Stage:
    """``python -m stages NAME KEY``."""
    return tuple(command.split()[3:])


def declared(stages: dict[Stage, Any]) -> Reads:
    """The params by which DVC decides whether a stage is stale.

    Those that are part of the paths of its inputs count, and those that divide_encoders writes into an input.
    """
    from dvc.dependency.param import ParamsDependency

    return {
        stage: {
            tuple(name.split(".")) for dep in found.deps if isinstance(dep, ParamsDependency) for name in dep.params
        }
        | set(_in_paths(stage[0]))
        | {leaf for dep in found.deps if dep.def_path.startswith("data/encoders/") for leaf in _divided(dep.def_path)}
        for stage, found in stages.items()
        if stage != BY_FILE
    }


def _divided(path: str) -> set[Leaf]:
    """What divide_encoders writes into a file: ``data/encoders/NAME/network.json``, ``features.json`` or ``control.json``."""
    *_, name, file = path.split("/")
    own = {"features.json": {"features"}, "control.json": {"control_of"}}
    return {("encoders", name, field) for field in own.get(file, ENCODER_FIELDS - OF_EVERY_KIND)}


def _in_paths(name: str) -> Iterator[Leaf]:
    """``${data.images}`` among the deps: another path is another input."""
    for dep in PIPELINE[name].get("do", PIPELINE[name])["deps"]:
        yield from (tuple(found.split(".")) for found in re.findall(r"\$\{((?!item\b|key\b)[\w.]+)\}", dep))


# ---- What other settings read


class OtherSettings:
    """Runs stages again in the working folder under other params, and adds what they read then.

    Parameters
    ----------
    params : of the run that left its results in the folder.
    read : what its stages read.
    """

    def __init__(self, params: Params, read: Reads) -> None:
        self.params, self.base = params, params.model_dump(mode="python")
        self.read = {stage: set(some) for stage, some in read.items()}

    def run(self, stage: Stage, **overlay: dict) -> None:
        """A user's error may end the stage; what was read until then counts."""
        params = self._with(overlay)
        with Recorder(params).recording() as some, suppress(UserError):
            importlib.import_module(f"stages.{stage[0]}").run(params, *stage[1:])
        self.read[stage] = self.read.get(stage, set()) | some

    def _with(self, overlay: dict) -> Params:
        content = copy.deepcopy(self.base)
        merge(content, overlay)
        return validated(content)

    def normalisers_and_indices(self) -> None:
        """A normaliser by shards, and an approximate index."""
        for encoder in self.params.encoders:
            self.run(("score_concepts", encoder), concepts={"normaliser": "shard"})
        self.run(("build_caption_index",), build_caption_index=OTHER_INDEX)
        for encoder in self.params.encoders:
            self.run(("score_concepts", encoder), build_caption_index=OTHER_INDEX)

    def whole_images(self) -> None:
        """Captions of whole images by the normaliser of shards; a control has its encoder's references, and reads no image.

        The tiny run's control has few features, which are enough at another rate only.
        """
        self.run(("decide_explained",), measure_faithfulness={"fdr": 0.9})
        self.run(("caption_images",), concepts={"normaliser": "shard"})
        for control in self.params.encoders.keys() - self.params.without_controls.keys():
            owner = self.params.encoders[control].control_of[0]
            read = {leaf for leaf in self.read["extract_references", owner] if leaf[0] != "encoders"}
            self.read["extract_references", control] |= read | {("encoders", control, "kind")}

    def contrasts(self) -> None:
        """The constants of the other contrasts; a pair reads those of its concepts as score_concepts does."""
        for encoder in self.params.encoders:
            for contrast in ("released", "both"):
                self.run(("score_concepts", encoder), concepts={"contrast": contrast})
        constants = {leaf for leaf in self.read["score_concepts", encoder] if leaf[1:] in (("low_cut",), ("gamma",))}
        for pair in self.params.transfers:
            self.read["transfer", pair] |= constants

    def rankings(self) -> None:
        """A ranking of all words over all probe images, with hubs subtracted."""
        changes = {"ranking": "correlation", "words_from": "corpus", "hub_correction": True}
        for encoder in self.params.encoders:
            self.run(("score_concepts", encoder), concepts=changes)

    def pairs(self) -> None:
        """Captions that people wrote, and an image-text encoder that is learned from them, with a sentence encoder of few lines."""
        images = read_table(paths.IMAGES)["image"]
        write_captioned_squares(Path("taught"))
        pd.DataFrame({"image": images, "caption": "a red boat"}).to_csv("pairs.tsv", sep="\t", index=False)
        self.run(("evaluate_human_captions", "supervised"), evaluate_human_captions=HUMAN_CAPTIONS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(aligned, "SentenceEncoder", ColourWords)
            patch.setattr(aligned, "folder_digest", str)
            self.run(("align_image_text", "own"), alignments=ALIGNMENTS)
        self.read["align_image_text", "own"].add(("alignments", "own", "checkpoint"))  # which DVC watches as a file

    def bases(self) -> None:
        """Components of every encoder; a control has those of its own."""
        basis = {"basis": {"fit": "pca", "components": 2}}
        for encoder in self.params.encoders:
            self.run(("fit_basis", encoder), encoders=dict.fromkeys(self.params.encoders, basis))

    def heatmaps_by_gradients(self) -> None:
        """No stored maps; the kind of the tiny run's encoders then ends in an error, after it was read."""
        for encoder in self.params.encoders:
            (paths.activations(encoder) / "maps.npy").unlink()
            self.run(("mine_crops", encoder))
        for stage, some in self.read.items():
            some |= {("encoders", self.params.transfers[stage[1]].unseen, "kind")} if stage[0] == "transfer" else set()

    def captioner(self) -> None:
        """A few crops, captioned by an untrained CoCa."""
        from open_clip import CoCa

        for encoder in self.params.encoders:
            crops = read_table(paths.crops(encoder) / "crops.parquet")
            write_table(paths.crops(encoder) / "crops.parquet", crops[:3])
        nothing = torch.zeros(3, 32, 32)
        tiny = {name: value for name, value in TINY_COCA.items() if name != "custom_text"}

        def loaded(spec, _):
            """What `loaded` reads of the params, and a model with random weights."""
            assert (spec.pretrained, spec.checkpoint) == ("checkpoint", "coca.pt")
            return CoCa(**tiny), lambda _: nothing, SimpleNamespace(name=spec.name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("falcon_dvc.captioner.loaded", loaded)
            told = {"pretrained": "checkpoint", "checkpoint": "coca.pt", "max_length": 3, "beams": 1}
            for encoder in self.params.without_controls:
                self.run(("generate_captions", encoder), generate_captions=told)

    def vocabulary(self) -> None:
        """The templates of a list of words."""
        self.run(("build_caption_index",), data={"caption_format": "vocabulary"})

    def classes(self) -> None:
        """Images of a user, whose labels say what they show."""
        for encoder in self.params.encoders:
            self.run(("measure_quantiles", encoder), worlds=[])

    def image_sources(self) -> None:
        """The user's own images. What it takes to list them is read by every stage that opens them."""
        pictures = {str(number): coloured(number) for number in range(4)}
        as_folder(Path("pictures"), pictures)
        as_list(Path("listed"), pictures)
        mnist(Path("mnist"))
        for source in OTHER_SOURCES.values():
            self.run(("collect_images",), data=source)
            params = self._with({"data": source})
            with Recorder(params).recording() as opened:
                open_images(params.data, read_table(paths.IMAGES))
            for some in self.read.values():
                some |= opened if ("data", "source") in some else set()

    def kinds_and_names(self) -> None:
        """The kind of an encoder decides which of its fields are read, but for those of every kind; names of a section are all of it."""
        for some in self.read.values():
            kinds = [leaf[:2] for leaf in some if leaf[0] == "encoders" and leaf[2:] == ("kind",)]
            names = [leaf[:-1] for leaf in some if leaf[-1] == KEYS]
            of_kinds, of_names = (
                {leaf for place in places for leaf in leaves(_at(self.base, place), place)} for places in (kinds, names)
            )
            some |= {leaf for leaf in of_kinds if leaf[2] not in OF_EVERY_KIND} | of_names


def other_settings(folder: Path, params: Params, read: Reads, scratch: Path) -> Reads:
    """What the stages read in all, by running some of them again, under settings of which the tiny run makes no use."""
    for name in ("data", "models"):
        shutil.copytree(folder / name, scratch / name)
    other = OtherSettings(params, read)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(scratch)
        other.normalisers_and_indices()
        other.whole_images()
        other.contrasts()
        other.rankings()
        other.pairs()
        other.bases()
        other.heatmaps_by_gradients()
        other.captioner()
        other.vocabulary()
        other.classes()
        other.image_sources()
    other.kinds_and_names()
    return other.read


def _at(content: Any, place: Leaf) -> Any:
    for key in place:
        content = content[key]
    return content


# ---- The comparison


def covers(names: set[Leaf], leaf: Leaf) -> bool:
    """Whether DVC sees a change of a value: by its own name, or by that of a section that it is in."""
    place = leaf[:-1] if leaf[-1] == KEYS else leaf
    return any(place[: len(name)] == name for name in names)


def too_few(reads: Reads, known: Reads) -> list[str]:
    """Params that a stage reads and DVC does not watch for it: a change would leave its old results."""
    return sorted(
        f"{' '.join(stage)}: {'.'.join(leaf)}"
        for stage, names in known.items()
        for leaf in reads[stage]
        if not covers(names, leaf)
    )


def too_many(reads: Reads, known: Reads, written: list[Leaf]) -> list[str]:
    """Params of params.yaml that DVC watches for a stage that never reads them: a change would run it for nothing."""
    return sorted(
        f"{' '.join(stage)}: {'.'.join(leaf)}"
        for stage, names in known.items()
        for leaf in written
        if covers(names, leaf) and leaf not in reads[stage]
    )
