"""The data that the site of a large report searches."""

import random

FEATURES = 20_000


def large_index(encoders):
    """Twenty thousand features, divided among the encoders, sixteen concepts each, of thirty thousand."""
    draw = random.Random(0)
    parts = [
        f"{draw.choice('bcdfgklmnprst')}{draw.choice('aeiou')}{draw.choice('bdgklmnrst')}{place}"
        for place in range(3000)
    ]
    concepts = sorted({" ".join(draw.sample(parts, draw.choice((1, 2, 3)))) for _ in range(30_000)})

    def group(place):
        members = str(place) if place % 3 else f"{place} {place + 1}"
        scores = sorted((draw.randrange(1000) for _ in range(16)), reverse=True)
        return [
            f"f{place}",
            members,
            2.0,
            1,
            draw.sample(range(len(concepts)), 16),
            scores,
            "first",
            "object boat",
            [2, 5, 9],
        ]

    groups = [group(place) for place in range(FEATURES // len(encoders))]
    also = [" ".join(draw.sample(parts, 3)) if place % 3 == 0 else "" for place in range(len(concepts))]
    return {
        "concepts": concepts,
        "also": also,
        "keys": ["0" * 12] * len(concepts),
        "encoders": [{"name": name, "groups": groups} for name in encoders],
    }
