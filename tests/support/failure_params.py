"""The params that the stage `failures` reads."""

from types import SimpleNamespace


def make_params(**changes):
    """Params as the stage reads them."""
    settings = {"encoders": ["net"], "seed": 0, "reference": "right", "named": 3, "least_share": 0.1, "examples": 4}
    settings |= {"permutations": 20, "pairs": 1, "features": 1, "controls": 5, "bootstrap": 100, "confidence": 0.95}
    return SimpleNamespace(
        failures=SimpleNamespace(**(settings | changes)),
        data=SimpleNamespace(images="data/scenes"),
        fit_probe=SimpleNamespace(encoders=()),
        encoders={"net": SimpleNamespace(kind="scenes", checkpoint="net.safetensors")},
        render_scenes=SimpleNamespace(shortcut=SimpleNamespace(object="boat", background="water", lookalike="truck")),
        worlds=("scenes",),
    )
