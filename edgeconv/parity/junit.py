"""A matrix as JUnit XML, which CI servers read."""

from xml.etree import ElementTree

from edgeconv.parity.matrix import Matrix


def to_junit(matrix: Matrix) -> str:
    """Return JUnit XML: a test case for each row, a failure for a missed budget, an error for a crash."""
    suite = ElementTree.Element(
        "testsuite",
        name="edgeconv parity",
        tests=str(len(matrix.rows)),
        failures=str(sum(row.error is None and not row.ok for row in matrix.rows)),
        errors=str(sum(row.error is not None for row in matrix.rows)),
    )
    for row in matrix.rows:
        seconds = row.outputs.about.get("infer_s", 0.0) if row.outputs else 0.0
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"parity.{row.stage}",
            name=row.label,
            time=f"{seconds:.3f}",
        )
        if row.error is not None:
            ElementTree.SubElement(case, "error", message=row.error)
        elif not row.ok:
            first = row.layers.first if row.layers else None
            message = str(row.verdict) if first is None else f"layer {first}"
            ElementTree.SubElement(case, "failure", message=message)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
