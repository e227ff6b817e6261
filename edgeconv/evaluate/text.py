"""An evaluation for the terminal."""

from edgeconv.evaluate.result import Report
from edgeconv.terminal import counted

SHOWN = 12


def lines(report: Report) -> list[str]:
    """Return what is said of one file, a line each."""
    said = [
        f"{report.path} ({report.runtime}), {counted(report.pictures, 'picture')}",
        f"  pictures: {report.prepared}",
        f"  truth: {report.truth}{_labelled(report)}",
    ]
    return [*said, *_classes(report), *_boxes(report)]


def _labelled(report: Report) -> str:
    """Say how many pictures the truth knows, where that is not all of them."""
    counted = report.pictures if report.classes is None else report.classes.top1.count
    return "" if counted == report.pictures else f" (of {counted} of them)"


def _classes(report: Report) -> list[str]:
    found = report.classes
    if found is None:
        return []
    top5 = "" if found.top5 is None else f", top-5 {found.top5}"
    said = [f"  top-1 {found.top1}{top5}"]
    said += [f"  {hint}" for hint in report.hints]
    present = [k for k in range(found.classes) if found.confusion[k].any()]
    worst = sorted(present, key=lambda k: found.of_class(k).value)[:SHOWN]
    said += [
        f"    {report.label(k)}: {found.of_class(k)} of {found.of_class(k).count}" for k in worst
    ]
    if len(present) > len(worst):
        said.append(
            f"    and {counted(len(present) - len(worst), 'class')} that are recognised better (--json)"
        )
    said += [
        f"    {'once' if times == 1 else f'{times} times'} {report.label(true)} was taken for {report.label(other)}"
        for true, other, times in found.mistakes()
    ]
    return said


def _boxes(report: Report) -> list[str]:
    said = []
    if report.head is not None:
        said.append(f"  head: {report.head}")
    if report.masks is not None:
        said.append(f"  mIoU {_percent(report.masks.mean, report.masks.interval)}")
        for index in range(report.masks.classes):
            iou = report.masks.of_class(index)
            if iou is not None:
                said.append(f"    {report.label(index)}: {100 * iou:.1f} %")
    own = report.precision
    if own is not None:
        said.append(
            f"  mAP {_percent(own.mean, own.interval)}, at IoU 0.5 "
            f"{_percent(own.at_half, own.half_interval)}, over {own.boxes} labelled boxes"
        )
    said += [f"  {hint}" for hint in report.hints if report.classes is None]
    if own is not None:
        weakest = sorted(own.classes, key=lambda pair: pair[1])[:SHOWN]
        said += [f"    {name}: {100 * value:.1f} %" for name, value in weakest]
    if report.parity is not None:
        found = report.parity
        said.append(f"  {found}")
        if found.worst:
            said.append("    worst: " + ", ".join(report.names[i] for i in found.worst))
        if report.drawn:
            said.append(
                f"    {len(report.drawn)} of them in {report.drawn[0].parent}: the reference's boxes "
                "blue, the file's orange"
            )
    return said


def _percent(value: float, interval: tuple[float, float]) -> str:
    """Write a share and its interval.

    >>> _percent(0.5, (0.4, 0.61))
    '50.0 % [40.0, 61.0]'
    """
    return f"{100 * value:.1f} % [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
