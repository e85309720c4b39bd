"""The plots of dvc.yaml: their columns, their templates, and that the report draws the same."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import vl_convert

from falcon_dvc.params.load import read_yaml
from falcon_dvc.report.plots import OF_ENCODERS, OF_RUN, OF_TRANSFERS, draw_plots, specification
from tests.support.paths import ROOT
from tests.support.report_artifacts import make_params, write_artefacts

STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
DECLARED = {
    path: settings
    for stage in STAGES.values()
    for entry in stage.get("do", stage).get("plots", [])
    for path, settings in entry.items()
}
PARAMS = read_yaml(ROOT / "params.yaml")
# Of images with labels, which the committed results lack; tests/pipeline/test_whole_run.py writes it.
SWITCHED_OFF = {"reports/plots/${item.encoder}_classes_methods.csv"}
KEY = re.compile(r"\$\{(item\.encoder|key)\}")


@pytest.mark.parametrize("path", DECLARED)
def test_every_plot_has_a_template_labels_and_columns(path):
    settings = DECLARED[path]
    assert {"x", "y", "x_label", "y_label", "title"} <= set(settings)
    template = (ROOT / settings["template"]).read_text(encoding="utf-8")
    fields = set(re.findall(r'"field": "([a-z_0-9]+)"', template)) - {
        "rev",
        "from",
        "to",
    }  # DVC's, and the template's own
    committed = [ROOT / KEY.sub(key, path) for key in (*PARAMS["encoders"], *PARAMS["transfers"])]
    tables = [pd.read_csv(file) for file in committed if file.exists()]
    assert tables or path in SWITCHED_OFF
    assert all({settings["x"], settings["y"], *fields} <= set(table) for table in tables)


def test_the_report_draws_what_dvc_yaml_declares():
    declared = {
        KEY.sub("{}", path): (
            Path(some["template"]).stem, some["x"], some["y"], some["x_label"], some["y_label"], KEY.sub("{}", some["title"]),
        )
        for path, some in DECLARED.items()
    }  # fmt: skip
    drawn = {
        f"reports/plots/{plot.file}.csv": (plot.template, plot.x, plot.y, plot.x_label, plot.y_label, plot.title)
        for plot in (*OF_RUN, *OF_ENCODERS, *OF_TRANSFERS)
    }
    assert drawn == declared


@pytest.mark.parametrize(
    "template", sorted((ROOT / "falcon_dvc/report/templates/plots").glob("*.json")), ids=lambda path: path.stem
)
def test_templates_load_nothing(template):
    content = json.loads(template.read_text(encoding="utf-8"))
    assert "url" not in json.dumps(content).replace('"$schema": "https://vega.github.io', "")


def test_a_specification_has_the_data_and_no_anchor_left():
    (plot,) = [some for some in OF_ENCODERS if some.file == "{}_interpretable"]
    table = pd.DataFrame({"groups": ["<b>"], "share": [0.5], "interval_low": [0.4], "interval_high": [0.6]})
    text = json.dumps(specification(plot, "first", table))
    assert "DVC_METRIC" not in text and '"rev"' not in text and "first: interpretable" in text and "<b>" in text


def test_plots_are_those_of_the_run_and_the_same_every_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vl_convert, "vegalite_to_svg", vl_convert.vegalite_to_svg.__wrapped__)
    params = make_params(encoders=("only", "other"), controls=("random_a",))
    write_artefacts(params, singles=2, groups=1)
    pages = draw_plots(params, Path("a"))
    draw_plots(params, Path("b"))
    pairs = ("only_to_other", "other_to_only")
    of_encoders = {"only_interpretable.svg", "other_interpretable.svg"}  # the control has none
    files = {"explained.svg", *of_encoders, *(f"transfer_{pair}_images.svg" for pair in pairs)}
    assert {path.name for path in Path("a").iterdir()} == files
    assert all((Path("a") / name).read_bytes() == (Path("b") / name).read_bytes() for name in files)
    assert [some.name for some in pages["only"]] == ["only_interpretable"] and pages["overview"]
    text = Path("a/explained.svg").read_text()
    assert ">untrained 1<" in text and "random_a" not in text
    assert all(some.width > 100 and some.height > 20 for some in pages["overview"])


def test_texts_in_a_plot_stay_texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = make_params(encoders=("only",))
    write_artefacts(params, singles=2, groups=1)
    Path("reports/plots/only_interpretable.csv").write_text(
        'groups,share,interval_low,interval_high\n"</svg><script>alert(1)</script>",0.5,0.4,0.6\n'
    )
    draw_plots(params, Path("a"))
    assert "<script" not in Path("a/only_interpretable.svg").read_text()
