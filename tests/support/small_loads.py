"""The memory of the stages at small sizes: `python -m tests.support.small_loads FOLDER SIZES` writes what `trials.load` measures.

Every size begins in a fork of one process, which has imported and read what takes longest: once instead of once a stage and size.
"""

import json
import sys
import time
from pathlib import Path

from falcon_dvc.artifacts.formats import write_json
from falcon_dvc.concepts.words.parsing import concepts_of
from trials import load

OF_WORDS = {
    "parse_captions",
    "analyse_groups",
    "evaluate_concepts",
}  # stages that read NLTK's and simplemma's dictionaries themselves


def measure(folder: Path, sizes: list[dict]) -> None:
    """Write into the folder what each stage takes, one file a size; a stage that parses no text is not charged for dictionaries."""
    import pyarrow.dataset  # noqa: F401  which every stage imports

    before = idle_mb()
    concepts_of("a striped boat on the waters")
    dictionaries = idle_mb() - before
    for number, size in enumerate(sizes):
        # In a process of its own: the stages start with the memory of the process that forks them.
        process = load.FORK.Process(target=write, args=(folder / str(number), load.Size(**size), dictionaries))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(process.exitcode)


def write(folder: Path, size: load.Size, dictionaries: float) -> None:
    """Measure all stages at one size, and write the result beside the workspace."""
    found = load.measured(folder, size, list(load.STAGES))
    for name in set(load.STAGES) - OF_WORDS:
        found["stages"][name]["peak_mb"] -= dictionaries
    write_json(folder.with_suffix(".json"), found)


def idle_mb() -> float:
    """Return the memory of a process that is forked from this one and does nothing for a moment."""
    return load._watched(lambda: time.sleep(0.1))["peak_mb"]


if __name__ == "__main__":
    measure(Path(sys.argv[1]), json.loads(sys.argv[2]))
