"""The stage of an export that writes a detector's file for apps, and holds its boxes against the verified file's."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from edgeconv.artifact import Artifact, manifest_path, save_manifest
from edgeconv.evaluate import MIN_SCORE
from edgeconv.evaluate.box_parity import BoxParity, box_parity
from edgeconv.evaluate.boxes import NMS_IOU, Boxes
from edgeconv.evaluate.heads import candidates, kept
from edgeconv.export.emit import EmitRequest, Emitted
from edgeconv.export.kinds import FOR_APPS
from edgeconv.export.manifest import manifest
from edgeconv.export.nms.head import Head, picture_size, tell_head
from edgeconv.export.nms.suppression import Suppression
from edgeconv.export.nms.tail import decoded
from edgeconv.export.reference import Arrays
from edgeconv.export.report import ArtifactReport
from edgeconv.export.targets import TARGETS
from edgeconv.export.verify import Expected, FileVerdict
from edgeconv.export.work import Work
from edgeconv.files import digest
from edgeconv.judge.run import all_placed, run_feeds
from edgeconv.judge.verdict import Finding, Verdict
from edgeconv.runtimes.base import open_runner

MOST_PICTURES = {"tflite": 50, "coreml": 8}
"""Both files run: so many pictures say whether they give the same boxes."""
LEAST_SAME = 0.95
"""Share of boxes, at IoU 0.9, that must be those of the verified file; equal scores have no order."""

FINAL = {"tflite": "ssd-nms", "coreml": "coreml-nms"}
"""Target -> the head that its file with NMS inside has."""


def limits_of(work: Work) -> Suppression:
    """Return what the options say of NMS."""
    options = work.options
    iou = NMS_IOU if options.nms_iou is None else options.nms_iou
    return Suppression(iou, MIN_SCORE if options.nms_score is None else options.nms_score)


def suppress(work: Work, target: str, request: EmitRequest) -> None:
    """Write a target's file with NMS inside, read it back, and write its manifest.

    ``request`` is what the verified file was made of; that file lies beside.
    """
    name = work.lowered.nms
    size = picture_size(work.graph)
    assert name is not None
    assert size is not None
    limits = limits_of(work)
    head = tell_head(name, work.expected.outputs, size)
    plain = work.file(target, work.place)
    path = plain.with_name(f"{work.stem}{FOR_APPS}{TARGETS[target].suffix}")
    with work.stages.stage("nms") as say:
        asked = replace(request, graph=decoded(work.graph, head), labels=None, nms=limits)
        made = TARGETS[target].emit(asked, path)
        expected = work.expected.spread(min(MOST_PICTURES[target], len(work.expected.feeds)))
        got, runtime = _outputs(path, made, expected, work.threads, TARGETS[target].aborts)
        boxes = kept(candidates(got, FINAL[target], size), limits.score, limits.iou, limits.most)
        own, _ = _outputs(plain, work.emitted[target], expected, work.threads)
        same = box_parity(_thinned(own, head, limits), boxes)
        found = box_parity(_thinned(expected.outputs, head, limits), boxes)
        verdict = _verdict(path.name, same)
        say(
            f"{path.name} · {name} · {_said(same, found)} · {len(expected.feeds)} pictures, {runtime}"
        )
    counts = len(expected.feeds), len(work.expected.feeds)
    whole = FileVerdict(runtime, *counts, verdict, work.options.precision == "int8", found)
    _describe(work, target, path, made, whole, limits)
    work.notes += [f"{target}: {note}" for note in made.notes if note not in "".join(work.notes)]
    final = work.options.output / path.name
    work.report.artifacts.append(ArtifactReport(target, final, made.size, made.figures(), whole))


def _outputs(
    path: Path, made: Emitted, expected: Expected, threads: int, isolate: bool = False
) -> tuple[Arrays, str]:
    """Run a file over the feeds, in a child first where ``isolate``; return its outputs (pictures, ...) and the runtime."""
    with open_runner(path, threads=threads, isolate=isolate) as runner:
        inputs = all_placed(runner.inputs, made.inputs)
        outputs = all_placed(runner.outputs, made.outputs)
        got, _ = run_feeds(runner, expected.feeds, inputs, outputs)
        return got, f"{runner.name} {runner.version}"


def _thinned(arrays: Arrays, head: Head, limits: Suppression) -> list[Boxes]:
    found = candidates(arrays, head.name, head.size)
    return kept(found, limits.score, limits.iou, limits.most)


def _verdict(name: str, same: BoxParity) -> Verdict:
    """Judge whether the file gives the boxes that its own net's outputs hold."""
    share = same.matched.right / max(1, same.matched.count + same.invented)
    ok = share >= LEAST_SAME or same.matched.count + same.invented == 0
    why = "" if ok else f"{name}: {same.missed} boxes missed, {same.invented} invented by its NMS"
    return Verdict((Finding("boxes", "same_boxes", share, LEAST_SAME, ok, why),))


def _said(same: BoxParity, found: BoxParity) -> str:
    if not same.matched.count + same.invented:
        return "no boxes on these pictures"
    held = f"{same.matched.right} of {same.matched.count} boxes as without it"
    return f"{held}, {found.matched.right} of {found.matched.count} as the float net's"


def _describe(
    work: Work, target: str, path: Path, made: Emitted, found: FileVerdict, limits: Suppression
) -> None:
    """Write the manifest: the evidence is that of the verified file, whose name it says."""
    plain = work.file(target, work.place)
    shared = json.loads(manifest_path(plain).read_bytes())["evidence"]
    inside = {
        "head": work.lowered.nms,
        **asdict(limits),
        "verified": plain.name,
        "final": FINAL[target],
    }
    content = manifest(
        {**work.description, "nms": inside},
        target,
        path.name,
        digest(path),
        made,
        shared,
        found.to_json(),
        None,
    )
    save_manifest(Artifact(path, content))
