"""What a MIL program holds for tiny graphs, in words: operators, options, shapes, constants and scales, and each refusal.

Where a change is meant: pytest --update-golden tests/test_emitted_coreml.py.
"""

from typing import Any

import pytest
from conftest import Golden
from emitted_cases import FAMILIES, Case, listing, plain_recipe, shown

from edgeconv.errors import EdgeconvError

pytest.importorskip("coremltools")


def mil_text(program: Any) -> list[str]:
    """Return the lines of a MIL program."""
    function = program.functions["main"]

    def argument(value: Any) -> str:
        if isinstance(value, list | tuple):
            return f"[{', '.join(argument(each) for each in value)}]"
        return value.name if value.val is None else shown(value.val)

    def typed(variable: Any) -> str:
        kind = variable.dtype.__name__ if hasattr(variable.dtype, "__name__") else variable.dtype
        return f"{variable.name} {kind}{list(variable.shape)}"

    lines = [f"in {typed(variable)}" for variable in function.inputs.values()]
    for op in function.operations:
        if op.op_type == "const":
            continue
        told = ", ".join(f"{key}={argument(value)}" for key, value in sorted(op.inputs.items()))
        lines.append(f"{op.op_type} ({told}) -> {', '.join(typed(each) for each in op.outputs)}")
    return [*lines, f"out {', '.join(variable.name for variable in function.outputs)}"]


def in_coreml(case: Case, precision: str) -> list[str]:
    from edgeconv.export.coreml.convert import Border, _converter_errors, build_program, quiet
    from edgeconv.export.coreml.integers import IntegerPlan
    from edgeconv.export.coreml.table import check_supported

    graph, plan = case.graph(precision == "int8"), None
    with quiet():
        import coremltools as ct

        try:
            check_supported(graph)
            if precision == "int8":
                plan = IntegerPlan(plain_recipe(graph), 17)
            with _converter_errors():
                program, lowering, _ = build_program(ct, graph, plan, 17 if plan else 16, Border())
        except EdgeconvError as error:
            said = "of coremltools" if "coremltools cannot" in str(error) else str(error)
            return [f"refused: {said}"]
    text = mil_text(program)
    if precision == "int8" and not any("quantize" in line for line in text):
        return ["all in float"]
    if lowering.exact:
        text.append(f"in float32: {', '.join(sorted(lowering.exact))}")
    return text


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mil_program_holds_what_its_listing_says(family: str, golden: Golden) -> None:
    golden.check(
        f"emitted/coreml_{family}.txt".replace(" ", "_"), listing(FAMILIES[family], in_coreml)
    )
