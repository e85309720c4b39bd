"""A comparison of two runs with one of everything in it."""

from falcon_dvc.compare.comparison import EncoderComparison, FeatureChange, MetricChange, ParamChange, Word
from falcon_dvc.compare.page import Comparison
from falcon_dvc.compare.revisions import Revision
from falcon_dvc.html.measurements import Measurement

HOSTILE = "</style><script>alert(1)</script>\" onerror='x' | `x` [a](javascript:x) {{ 7*7 }} \x1b[31m\u202e\n# h"
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def revision(name, commit="1234567", subject="a subject"):
    return Revision(name, commit, subject, None)


def feature(place, text="boat", close=None):
    words = [Word(text, 0.5), Word("red", 0.4)]
    return FeatureChange(
        "e", f"f{place}", str(place), words, words[::-1], 0.9 - place / 1000, close, ([PIXEL] * 6, [PIXEL] * 6)
    )


def comparison(text="plain", features=3, shown=50):
    """One of everything, with `text` wherever a stranger's text may stand."""
    triple = Measurement(0.5, 0.4, 0.6)
    rows = [(triple, Measurement(0.9, 0.8, 1)), (triple, Measurement(0.55, 0.5, 0.6)), (Measurement(1), Measurement(2))]
    metrics = [MetricChange(text, text, text, *row) for row in [*rows, (None, triple), (triple, None)]]
    changes = [feature(place, text, [None, True, False][place % 3]) for place in range(features)]
    encoder = EncoderComparison(text, changes, 7, [text], [text], [], [text])
    gone = EncoderComparison(text, [], 0, [], [], [text], [])
    return Comparison(
        revision(text, subject=text), revision("workspace", "", ""), [ParamChange(text, text, None)], metrics, 3,
        [encoder, gone], shown, [f"{text}: not there"],
    )  # fmt: skip
