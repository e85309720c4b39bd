"""Study stage: check both files of params before DVC removes the results of any other stage."""

from pathlib import Path

from falcon_dvc.artifacts.formats import write_text
from falcon_dvc.params.load import load_params, read_yaml
from worlds.worlds import BASE, STUDY, params_of, read_world

CHECKED = Path("params_checked.txt")


def run() -> None:
    """Write ``params_checked.txt``, which is constant.

    Raises
    ------
    UserError
        If a world or a param of ``../params.yaml`` is not valid.
    """
    load_params(BASE)
    for name in read_yaml(STUDY).get("worlds", {}):
        params_of(read_world(name))
    write_text(CHECKED, "params.yaml is valid\n")
