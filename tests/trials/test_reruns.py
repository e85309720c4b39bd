"""The trial of reruns changes every value to another that the schema accepts, and sees a stage too few or too many."""

from falcon_dvc.params.load import read_yaml, validated
from tests.support.paths import ROOT
from trials import reruns


def test_every_value_with_an_alternative_is_changed_alone():
    content = read_yaml(ROOT / "params.yaml")
    tried = list(reruns.changes(content))
    without = {("encoders", name, key) for name in content["encoders"] for key in ("kind", "weights")}
    without |= {("alignments",), ("evaluate_classes", "names")}  # mappings whose keys are the user's
    without |= {("generate_captions", "kind")}  # and of controls: another architecture, or trained weights, is refused
    assert {change.leaf for change in tried} == set(reruns.leaves(content)) - without
    alone = [change for change in tried if (change.leaf[0], change.leaf[-1]) not in reruns.TOGETHER]
    for change in alone[:: len(alone) // 20]:
        changed = {leaf for leaf in reruns.leaves(content) if _at(change.content, leaf) != _at(content, leaf)}
        assert changed == {change.leaf} and validated(change.content) != validated(content)


def _at(content, leaf):
    for key in leaf:
        content = content[key]
    return content


def test_a_stage_too_few_and_a_stage_too_many_are_named():
    change = reruns.Change(("report", "high"), {}, frozenset({("report", "high")}))
    reads = {("report",): {("report", "high")}, ("claims",): set()}
    stages = frozenset(reads)
    assert reruns.compared(change, reads, stages, frozenset({("report",)})) == []
    assert reruns.compared(change, reads, stages, frozenset({("claims",)})) == [
        "report.high: too few: report",
        "report.high: too many: claims",
    ]
