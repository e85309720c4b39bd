"""`export`: tidy tables and one JSON file with the same content, for a paper."""

import csv
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_array, write_table
from falcon_dvc.cli import export
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import load_params
from tests.support.command_lines import assert_one_line, falcon
from tests.support.paths import ROOT
from tests.support.report_artifacts import write_artefacts

FORMULA = '=HYPERLINK("http://a", "b")'
ENCODERS = ("supervised", "simclr", "untrained_1")
FILES = ["captions.csv", "concepts.csv", "falcon.json", "features.csv"]
LOCK = """
schema: '2.0'
stages:
  find_groups@simclr:
    cmd: python -m stages find_groups simclr
    deps: [{path: stages/find_groups.py, hash: md5, md5: 0123, size: 1}]
    outs: [{path: data/groups/simclr, hash: md5, md5: 45e6.dir, size: 1, nfiles: 3}]
  claims: {cmd: x, outs: [{path: data/b, md5: ff}, {path: data/a, md5: ee}]}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of two encoders and a control, with a formula for a text, two features that are not explained, and an absolute path."""
    folder = tmp_path_factory.mktemp("exported")
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = re.sub(r"  untrained_2: .*\n", "", text)
    text = text.replace("captions: data/scenes/captions.txt", "captions: /home/somebody/captions.txt")
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    (folder / "dvc.lock").write_text(LOCK, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_artefacts(load_params().model_copy(update={"transfers": {}}), text=FORMULA)
        for name in ENCODERS:
            write_array(paths.activations(name) / "features.npy", np.ones((40, 8), dtype=np.float32))
            _without_concepts(name, kept_of="f1", all_of="f2")
    assert falcon(folder, "export").returncode == 0
    return folder


def _without_concepts(name, kept_of, all_of):
    """Take the kept concepts of one feature away, and all of another."""
    for file in ("concepts", "evidence"):
        path = paths.concepts(name) / f"{file}.parquet"
        table = pd.DataFrame(read_table(path))
        gone = (table["group"] == kept_of) & table.get("kept", True) | (table["group"] == all_of)
        write_table(path, table[~gone])


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "run")


def rows(folder, name):
    with (folder / f"reports/export/{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_it_names_its_files(made, tmp_path):
    told = falcon(made, "export", "simclr", "--out", str(tmp_path / "out")).stdout.split()
    assert sorted(told) == [str(tmp_path / "out" / name) for name in FILES]
    assert set(pd.read_csv(tmp_path / "out/features.csv")["encoder"]) == {"simclr"}


def test_every_feature_and_group_has_one_row(made):
    of_one = [row for row in rows(made, "features") if row["encoder"] == "simclr"]
    assert [row["group"] for row in of_one if row["size"] == "1"] == [f"f{number}" for number in range(8)]
    assert [row["members"] for row in of_one[8:]] == ["0 1", "1 2", "2 3"]
    told = {row["group"]: (row["explained"], row["reason"]) for row in of_one}
    assert told["f0"] == ("True", "")
    assert told["f1"] == ("False", "the contrast removed every concept")
    assert told["f2"] == ("False", "no caption of its crops holds a concept")
    assert told["f6"] == told["f7"] == ("False", "fewer than 11 highly activating images")
    assert of_one[0]["first_concept"] and 0 < float(of_one[0]["score"]) < 1 and of_one[0]["coherence"]
    assert of_one[0]["truth_value"] and not of_one[6]["first_concept"] and not of_one[6]["support"]


def test_a_feature_has_its_verdict_and_the_numbers_behind_it(made):
    told = {(row["encoder"], row["group"]): row for row in rows(made, "features")}
    sure, unsure, absent = (told["simclr", group] for group in ("f0", "f5", "f6"))
    assert (sure["verdict"], sure["explained"], sure["heldout_correlation"]) == ("explained", "True", "0.3")
    assert (unsure["verdict"], unsure["explained"], unsure["verdict_p_value"]) == ("not explained", "False", "0.3")
    assert "(correlation 0.40, p 0.3)" in unsure["reason"] and unsure["untrained_level"] == "0.2"
    assert absent["verdict"] == absent["heldout_correlation"] == ""
    assert [told[name, "f0"]["control"] for name in ENCODERS] == ["False", "False", "True"]


def test_a_feature_has_its_sentence_and_the_words_of_it(made):
    told = {row["group"]: row for row in rows(made, "features") if row["encoder"] == "simclr"}
    assert (
        told["f0"]["sentence"].endswith(" or boat, not sand (R² 0.50)") and told["f3"]["sentence"] == "boat (R² 0.25)"
    )
    assert told["f3"]["set_words"] == "boat" and told["f3"]["set_gains"] == told["f0"]["set_gains"].split("; ")[0]
    assert told["f6"]["sentence"] == "" and all(not row["sentence"] for name, row in told.items() if name[0] == "g")


def test_the_concepts_are_those_of_the_run_in_its_order(made):
    expected = [
        (name, *row)
        for name in ENCODERS
        for row in read_table(made / paths.concepts(name) / "concepts.parquet")[["group", "kind"]].itertuples(
            index=False
        )
    ]
    assert [(row["encoder"], row["group"], row["kind"]) for row in rows(made, "concepts")] == expected


def test_the_captions_are_the_heaviest_of_each_kept_concept(folder):
    evidence = read_table(folder / paths.concepts("simclr") / "evidence.parquet")
    group, concept = evidence.loc[0, ["group", "concept"]]
    own = evidence[(evidence["group"] == group) & (evidence["concept"] == concept)]
    weight = own.groupby("caption")["weight"].sum().sort_values(ascending=False)
    found = [
        row
        for row in rows(folder, "captions")
        if (row["encoder"], row["group"]) == ("simclr", group) and row["concept"].lstrip("'") == concept
    ]
    assert [int(row["caption"]) for row in found] == weight.index[:5].tolist()
    assert sum(int(row["crops"]) for row in found) <= len(own)
    falcon(folder, "export", "--captions", "0")
    assert rows(folder, "captions") == []


def test_texts_of_others_are_no_formulas_in_a_spreadsheet_and_unchanged_in_json(made):
    cells = [cell for name in ("features", "concepts", "captions") for row in rows(made, name) for cell in row.values()]
    assert f"'{FORMULA}" in cells and not any(cell.startswith("=") for cell in cells)
    assert json.dumps(FORMULA) in (made / "reports/export/falcon.json").read_text(encoding="utf-8")


def test_the_json_holds_the_same_nested_and_says_where_it_comes_from(made):
    content = json.loads((made / "reports/export/falcon.json").read_text(encoding="utf-8"))
    features = content["encoders"]["simclr"]["features"]
    assert [feature["group"] for feature in features] == [
        row["group"] for row in rows(made, "features") if row["encoder"] == "simclr"
    ]
    counted = [sum(len(feature["concepts"]) for feature in one["features"]) for one in content["encoders"].values()]
    assert sum(counted) == len(rows(made, "concepts"))
    assert features[0]["concepts"][0]["captions"] and features[-1]["members"] == [2, 3]
    assert features[6]["support"] is None and features[6]["concepts"] == []
    assert content["outputs"] == {"data/a": "ee", "data/b": "ff", "data/groups/simclr": "45e6.dir"}
    assert content["params"]["concepts"]["contrast"] == "combined"
    assert content["params"]["data"]["captions"] == "captions.txt"


def test_the_same_run_gives_the_same_bytes_without_a_lock_too(folder):
    before = {name: (folder / "reports/export" / name).read_bytes() for name in FILES}
    assert falcon(folder, "export", *ENCODERS).returncode == 0
    assert {name: (folder / "reports/export" / name).read_bytes() for name in FILES} == before
    (folder / "dvc.lock").unlink()
    assert falcon(folder, "export").returncode == 0
    assert json.loads((folder / "reports/export/falcon.json").read_text(encoding="utf-8"))["outputs"] == {}


def test_a_run_without_encoders_has_nothing_to_export(tmp_path):
    with pytest.raises(UserError, match="encoders is empty"):
        export.run(load_params(ROOT / "params.yaml").model_copy(update={"encoders": {}}), [], tmp_path, 5)


def test_an_unknown_encoder_or_a_missing_result_is_said_in_one_line(folder):
    assert_one_line(falcon(folder, "export", "clip"), "encoders has no 'clip'", "supervised, simclr")
    (folder / "data/concepts/simclr/evidence.parquet").unlink()
    assert_one_line(falcon(folder, "export"), "data/concepts/simclr/evidence.parquet", "dvc repro")
