"""What a recipe file holds, field by field (edgeconv/recipe.py says what the fields mean)."""

from edgeconv.schema import flag, items, mapping, maybe, number, one_of, table, text, whole

FLOAT32 = number(low=-3.4e38, high=3.4e38)
NOTED, SHARE = number(finite=False), number(low=0.0, high=1e30, finite=False)

OPTIONAL = {
    "equalized": FLOAT32,
    "float_outputs": text,
    "copies": whole(1, 1 << 10),
    "free_bias": FLOAT32,
}

RECIPE = table(
    {
        "name": text,
        "form": one_of("zero-point-free", "asymmetric"),
        "activations": mapping(
            table(
                {"scale": FLOAT32, "zero_point": whole(), "low": number(), "high": number()},
                {"fixed": flag, "final": flag},
            )
        ),
        "weights": mapping(
            table(
                {
                    "shape": items(whole(0, 1 << 31)),
                    "axis": whole(0, 7),
                    "scales": items(FLOAT32),
                    "float_bias": items(FLOAT32),
                    "bias": items(whole(-(1 << 31), (1 << 31) - 1)),
                    "values_base64": text,
                }
            )
        ),
        "float_nodes": items(text),
        "notes": table(
            {},
            {
                "layers": mapping(
                    table(
                        {"clip_rate": NOTED, "weight_error": NOTED},
                        {"noise": maybe(SHARE), "added": maybe(SHARE)},
                    )
                ),
                "noise": mapping(
                    table(
                        {
                            "share": SHARE,
                            "channels": whole(1),
                            "worst_channel": whole(0),
                            "worst_share": SHARE,
                        }
                    )
                ),
                "candidates": items(
                    table(
                        {"candidate": text, "form": text, "loss": NOTED, "sqnr_db": NOTED},
                        {"agreement": maybe(NOTED)},
                    )
                ),
                "float": mapping(text),
                "histograms": mapping(
                    table(
                        {
                            "low": FLOAT32,
                            "high": FLOAT32,
                            "counts": items(whole(0, 1 << 40), 1, 1000),
                        }
                    )
                ),
            },
        ),
    },
    {name: mapping(items(each)) for name, each in OPTIONAL.items()}
    | {"free_zero_points": items(text)},
)
"""What a recipe file must hold; whether its figures can be right is not asked here."""
