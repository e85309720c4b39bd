"""The section render_scenes of the params, small."""

from types import SimpleNamespace


def section(**changes) -> SimpleNamespace:
    values = {
        "seed": 0, "size": 64, "clip_train": 60, "encoder_train": 400, "probe": 400, "test": 200, "captions": 300, "junk": 0.1,
        "absent": 0.1, "near_duplicates": 0.1, "captions_per_image": 2, "diameters": [18, 32], "closeups": 0.4,
        "closeup_diameters": [33, 88], "distractors": 2, "noise": 15,
        "objects": [1, 1], "further_diameters": [11, 15], "tilt": 0.0, "matched": False, "clip_world": None,
        "shortcut": SimpleNamespace(object="boat", background="water", strength=1.0, lookalike="truck"),
        "cooccurrence": SimpleNamespace(object="umbrella", background="sand", strength=0.95),
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))
