"""Labels of measurements are words that people know."""

import re

import pytest

from falcon_dvc.artifacts.formats import read_json
from falcon_dvc.html.measurements import tabulate
from falcon_dvc.report.labels import label, labelled
from tests.support.paths import ROOT

FILES = sorted((ROOT / "reports/metrics").glob("*.json"))
RAW = re.compile(r"_|\b(top\d|auc|auprc|mad|wpmi|heldout|dropped|of \d+$)\b")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("top1", "first concept is right"),
        ("methods · falcon off", "FALCON without contrast"),
        ("methods · soft wpmi", "baseline · CLIP-Dissect's soft-WPMI"),
        ("methods · clip dissect", "baseline · CLIP-Dissect, as released"),
        ("every feature · falcon off", "every feature · FALCON without contrast"),
        (
            "every feature · nearest text · falcon less this",
            "every feature · nearest text · FALCON less this, on the same features",
        ),
        ("class set", "sets of one class (control)"),
        ("median pearson", "correlation of the first word, median"),
        ("interpretable share", "interpretable, share"),
        ("median lift", "lift, median"),
        ("dropped share images", "left out of the images"),
        ("groups of 2", "groups of 2"),
        ("of 3", "groups of 3"),
        ("pearson mean", "correlation of the first word, mean"),
        ("share", "share"),
    ],
)
def test_labels(name, expected):
    assert label(name) == expected


def test_no_number_of_the_committed_run_has_a_raw_name():
    raw = {}
    for path in FILES:
        table = labelled(tabulate("", "", {"a": read_json(path)}))
        labels = [name for section in table.sections for name in (section.heading, *(row[0] for row in section.rows))]
        raw[path.name] = [name for name in labels if RAW.search(name) and not name.startswith("groups of")]
    assert raw and not any(raw.values())


def test_labels_move_no_number():
    table = tabulate("", "", {"a": {"top1": 1, "top5": 2, "x": {"n": 3, "m": 4}}})
    assert [[cells for _, cells in section.rows] for section in labelled(table).sections] == [
        [cells for _, cells in section.rows] for section in table.sections
    ]
