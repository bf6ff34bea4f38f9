"""The summaries that the commands of ser-hf print at their end.

The commands are train, evaluate, compare, rank, inspect, reproduce, export and convert.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd

from ..evaluation.metrics import METRICS, NAMES
from ..utils.errors import printable
from .published import published_line
from .report import Report
from .selective import abstained, adapted
from .views import (
    confidence,
    degraded,
    embeddings,
    evaluated_speakers,
    figure,
    selection,
    span,
)

# The speakers of a split are listed if there are at most this many.
_MOST_LISTED_SPEAKERS = 8
# An error of an inspection lists at most this number of files.
_MOST_LISTED_FILES = 3


class Finding(TypedDict):
    """A finding of `ser-hf inspect`; `files` are pairs of a path and a remark."""

    level: str
    text: str
    files: Sequence[tuple[str, str]]


class Inspected(TypedDict):
    """The keys of an inspection that the terminal shows."""

    corpus: Mapping[str, Any]
    verdict: Mapping[str, str]
    counts: Mapping[str, Any]
    findings: Sequence[Finding]


class Reproduced(TypedDict):
    """The content of reproduction.json; `recipe` and `environment` have the differences only."""

    name: str
    source: str
    output_dir: str
    protocol: Mapping[str, Any]
    recipe: Mapping[str, Mapping[str, Any]]
    environment: Mapping[str, Mapping[str, Any]]
    incomparable: Sequence[str]
    figures: Sequence[Mapping[str, Any]]
    missing: Sequence[str]
    predictions: float | None
    trained: bool
    verdict: str


class ExportedFile(TypedDict):
    """An exported file; `difference` has the largest differences from the model's outputs."""

    path: Path
    bytes: int
    difference: Mapping[str, Any]
    padded: bool
    milliseconds: float


class Exported(TypedDict):
    """An export of a model: files by their form, and the time per clip in torch."""

    files: Mapping[str, ExportedFile]
    compared_on: str
    milliseconds: float
    script: Path | None


def train_summary(report: Report) -> str:
    """The summary of a training run: results, splits, leak, foil, notes and next commands."""
    lines = ["", *_result(report), *_splits(report)]
    lines.append(f"  {selection(report)}")
    further = [
        *published_line(report),
        *abstained(report),
        *adapted(report),
        *degraded(report),
        *embeddings(report),
    ]
    lines += [f"  {line}" for line in further]
    if report.foil:
        foil = report.foil
        lines.append(
            f"  foil: under the leaky protocol {foil.protocol} the same recipe has "
            f"{NAMES[report.main]} {foil.metrics[report.main]:.3f} ({foil.gap[report.main]:+.3f})"
        )
    lines += [f"  note: {note}" for note in [*report.protocol.notes, *report.warnings]]
    return "\n".join([*lines, *_next_steps(report)])


def _result(report: Report) -> list[str]:
    """Lines with the main metric and its interval, other metrics, dimensions and pooled folds."""
    metrics = report.metrics
    main = report.main
    runs = ""
    if report.protocol.folds:
        deviation = report.deviations[main]
        folds = len(report.protocol.folds)
        runs = f", mean of {folds} folds, standard deviation {deviation:.3f}"
    elif report.seeds:
        runs = f", mean of {len(report.seeds)} seeds"
    interval = f"{confidence(report)} interval {span(report.intervals.get(main))}"
    others = []
    for key in report.measured.headline[1:]:
        others.append(f"{NAMES[key]} {figure(metrics[key])} {METRICS[key].unit}".rstrip())
    lines = [
        f"{report.name}: {NAMES[main]} {figure(metrics[main])} on {evaluated_speakers(report)} "
        f"({interval}{runs})",
        f"  {', '.join(others)}",
    ]
    for name, scores in report.per_dimension.items():
        low, high = report.ranges[name]
        line = (
            f"  {name} ({low:g} to {high:g}): CCC {figure(scores.ccc)} "
            f"({span(scores.ccc_interval)}), MAE {scores.mae * (high - low):.2f}"
        )
        if scores.outside:
            line += f", {scores.outside:.1%} of the predictions outside of the scale and clamped"
        lines.append(line)
    if report.pooled:
        shown = (main, report.measured.beside[0])
        pooled = [f"{NAMES[key]} {figure(report.pooled.metrics[key])}" for key in shown]
        lines.append(f"  pooled predictions of all folds: {', '.join(pooled)}")
    return lines


def _splits(report: Report) -> list[str]:
    """Lines with the protocol and its leak, and the clips and speakers of each split."""
    protocol = report.protocol
    lines = [f"  protocol {protocol.name}, sha256 {protocol.sha256[:16]}"]
    if protocol.leak:
        lines.append(f"    LEAKY: {protocol.leak}")
    for name, split in protocol.parts.items():
        speakers = f"{len(split.speakers)}"
        if len(split.speakers) <= _MOST_LISTED_SPEAKERS:
            speakers += f" ({', '.join(split.speakers)})"
        lines.append(f"    {name}: {split.clips} clips, speakers: {speakers}")
    return lines


def _next_steps(report: Report) -> list[str]:
    """Lines with the path of the report, the code that loads the model, and further commands."""
    run = report.output_dir
    page = (Path(run) / "report" / "index.html").resolve().as_uri()
    trust = ", trust_remote_code=True" if report.model.remote_code else ""
    last = f"publish {run} --repo USER/NAME"
    if report.evaluated_split == "validation":
        last = (
            f"train {run}/recipe.yaml evaluation.part=test --output {run}_test"
            "  (when nothing is left to choose: evaluates on the test split)"
        )
    return [
        f"  report: {page}",
        f"  card: {run}/model/README.md",
        f'  load it: pipeline("audio-classification", model="{run}/model"{trust})',
        f"  next: ser-hf predict {run} recording.wav",
        f"        ser-hf demo {run}",
        f"        ser-hf {last}",
    ]


def evaluation_summary(report: Report) -> str:
    """The summary of an evaluation: results, leak, notes and warnings."""
    main = report.main
    interval = f"{confidence(report)} interval {span(report.intervals.get(main))}"
    others = [f"{NAMES[key]} {figure(report.metrics[key])}" for key in report.measured.beside]
    outputs = "labels" if report.confusion else report.measured.outputs
    lines = [
        f"{report.name}: {NAMES[main]} {figure(report.metrics[main])} ({interval}), "
        f"{', '.join(others)}; {report.clips:,} clips of {report.speakers} speakers, "
        f"{len(report.labels)} {outputs}"
    ]
    lines += adapted(report)
    lines += degraded(report)
    lines += embeddings(report)
    if report.protocol.leak:
        lines.append(f"leaks: {report.protocol.leak}")
    return "\n  ".join([*lines, *report.protocol.notes, *report.warnings])


def comparison_summary(tables: Sequence[pd.DataFrame], warnings: Sequence[str]) -> str:
    """The summary of a comparison: the tables of runs and of pairs, and warnings."""
    lines = [f"\n{table.to_string(index=False)}" for table in tables if len(table)]
    lines += [f"  warning: {warning}" for warning in warnings]
    return "\n".join(lines)


def ranking_summary(tables: Mapping[str, pd.DataFrame]) -> str:
    """The summary of a ranking: a table for each split, below its heading."""
    blocks = [f"\n{heading}\n{table.to_string(index=False)}" for heading, table in tables.items()]
    return "\n".join(blocks)


def matrix_summary(table: pd.DataFrame, notes: Sequence[str]) -> str:
    """The summary of a matrix of models and corpora: the table and the notes below it."""
    lines = ["", table.to_string(index=False), *(f"  {note}" for note in notes)]
    return "\n".join(lines)


def inspection_summary(inspected: Inspected) -> str:
    """The summary of an inspection: verdict, counts and findings; errors with some files."""
    counts = inspected["counts"]
    lines = [
        "",
        f"{inspected['corpus']['title']}: {inspected['verdict']['text']}",
        f"  {counts['readable_clips']} clips readable, {counts['hours']:.2f} h, "
        f"speakers: {counts['speakers']}, labels: {counts['labels']}",
    ]
    for finding in inspected["findings"]:
        lines.append(f"  {finding['level']}: {finding['text']}")
        if finding["level"] == "error":
            files = finding["files"][:_MOST_LISTED_FILES]
            lines += [f"    {place}: {remark}" for place, remark in files]
    return "\n".join(lines)


def reproduction_summary(reproduced: Reproduced) -> str:
    """The summary of a reproduction: protocol, differences, results, and the verdict last."""
    lines = [
        "",
        f"{reproduced['name']}: {reproduced['source']} rerun",
        f"  protocol {reproduced['protocol']['name']}: {_same_clips(reproduced['protocol'])}",
    ]
    for key, change in reproduced["recipe"].items():
        lines.append(f"  another recipe: {key} {change['saved']} -> {change['now']}")
    for key, change in reproduced["environment"].items():
        lines.append(f"  another environment: {key} {change['saved']} -> {change['now']}")
    if reproduced["incomparable"]:
        lines.append(f"  figures cannot be compared: {'; '.join(reproduced['incomparable'])}")
    else:
        table = pd.DataFrame(reproduced["figures"])
        lines.append(table.to_string(index=False, float_format="{:.4f}".format))
        lines += [f"  measured in the saved run only: {name}" for name in reproduced["missing"]]
        if reproduced["predictions"] is not None:
            share = 100 * reproduced["predictions"]
            lines.append(f"  same predicted class: {share:.4g} % of the clips")
    if reproduced["trained"]:
        lines.append(f"  written to {reproduced['output_dir']}/report/reproduction.json")
    else:
        lines.append("  nothing was trained or written")
    lines.append(reproduced["verdict"])
    return "\n".join(printable(line) for text in lines for line in text.split("\n"))


def export_summary(export: Exported) -> str:
    """The summary of an export: size, speed and difference of each file, and how to run it."""
    files = export["files"]
    clips = next(iter(files.values()))["difference"]["clips"]
    lines = [f"compared on {clips} {export['compared_on']}:"]
    for name, file in files.items():
        difference = file["difference"]
        size = f"{file['bytes'] / 1e6:.2f} MB, {file['milliseconds']:.1f} ms a clip"
        batch = "alone and padded" if file["padded"] else "one at a time"
        changed = ""
        if name in ("int8", "fp16"):
            changed = f", another label for {difference['changed']}"
        lines.append(
            f"{file['path']}: {size}; {batch}: logits up to {difference['logits']:.2g} from the "
            f"model's, probabilities {difference['probabilities']:.2g}{changed}"
        )

    lines.append(f"  the model in torch: {export['milliseconds']:.1f} ms a clip")
    if export["script"] is None:
        (program,) = files.values()
        lines.append(f"  run it: torch.export.load('{program['path']}').module()")
    else:
        smallest = list(files.values())[-1]["path"]
        lines.append(f"  run it: python {export['script']} {smallest} recording.wav")
    return "\n".join(lines)


def web_summary(page: Exported) -> str:
    """The summary of a page that runs a model in the browser: its size, and how to open it."""
    difference = page["difference"]
    runtime = "a copy is in the folder" if page["local_runtime"] else "it comes from a CDN"
    lines = [
        f"{page['folder']}: a page with a model of {page['bytes'] / 1e6:.2f} MB, which each "
        f"visitor downloads; onnxruntime-web runs it ({runtime})",
        f"  compared on {difference['clips']} {page['compared_on']}: probabilities up to "
        f"{difference['probabilities']:.2g} from the model's, another label for "
        f"{difference['changed']}",
        f"  open it: python3 -m http.server --directory {page['folder']}, then "
        "http://localhost:8000",
    ]
    return "\n".join(lines)


def conversion_summary(conversion: Mapping[str, Any]) -> str:
    """The summary of a conversion: what the folder holds, and what the file has besides."""
    labels = conversion["labels"]
    content = "an encoder without a classifier"
    if labels:
        content = f"a classifier of {len(labels)} labels ({', '.join(labels)})"
    lines = [
        f"{conversion['folder']}: {content}, {conversion['parameters']:,} parameters from "
        f"{len(conversion['converted'])} tensors of {conversion['source']}"
    ]
    unused = conversion["unused"]
    if unused:
        groups = sorted({".".join(name.split(".")[:3]) for name in unused})
        lines.append(
            f"  {len(unused)} tensors of the pretraining are left out: {', '.join(groups)}"
        )
    if conversion["unused_labels"]:
        names = ", ".join(conversion["unused_labels"])
        lines.append(f"  outputs without training are left out: {names}")
    lines.append(f"  every tensor: {conversion['folder']}/conversion.json")
    return "\n".join(lines)


def _same_clips(protocol: Mapping[str, Any]) -> str:
    """Whether the saved run and the rerun have the same split and the same samples."""
    sha256 = protocol["sha256"]
    if not sha256["equal"]:
        return f"ANOTHER SPLIT (sha256 {sha256['saved'][:16]} then, {sha256['now'][:16]} now)"
    content = {
        True: "the same samples and labels",
        False: "OTHER SAMPLES, LABELS OR SPEAKERS under the same ids",
        None: "their content was not recorded",
    }
    equal = content[protocol["clips"]["equal"]]
    return f"the same clips in the same splits (sha256 {sha256['now'][:16]}), {equal}"
