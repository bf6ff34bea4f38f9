"""A report as people read it: its facts as numbers and sentences for pages, cards and the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.calibration import at_limit
from ..evaluation.metrics import NAMES
from .report import Report
from .sections import Split

# The use of each split.
_ROLES = {
    "train": "for training",
    "validation": "for validation",
    "test": "for the final test, once",
}
# What an epoch has equal shares of, by `training.balance`.
BALANCED = {
    "corpus": "all corpora",
    "class": "all classes",
    "corpus_and_class": "all corpora and of their classes",
}
# For each kind that an audit counts: its name, and what it means if two splits share some.
_KINDS = {
    "speakers": ("speaker", "error", "voices of the training data are evaluated again"),
    "sessions": ("session", "note", "same room, day and partners"),
    "sentences": ("sentence", "note", "the words are known, which a fixed list cannot avoid"),
    "recordings": ("recording", "error", "the same samples are evaluated again"),
    "near_duplicates": ("near duplicate", "error", "the same take, cut, re-encoded or re-leveled"),
}


def counted(number: int, word: str) -> str:
    """ "1 clip", "1,440 clips"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def figure(value: float | None, digits: int = 3) -> str:
    """A score with a fixed number of digits; a dash for an undefined one."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None) -> str:
    """A difference, with its sign."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def span(interval: Sequence[float] | None, digits: int = 3) -> str:
    """Both ends of an interval."""
    return "–" if interval is None else " to ".join(figure(end, digits) for end in interval)


def duration(seconds: float | None) -> str | None:
    """Seconds in a suitable unit."""
    if seconds is None:
        return None
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def share(value: float | None) -> str:
    """A score as a place on an axis from 0 to 1, in percent."""
    return f"{100 * min(max(value or 0.0, 0.0), 1.0):.1f}"


FORMATS = {"counted": counted, "figure": figure, "signed": signed, "span": span, "share": share}


def confidence(report: Report) -> str:
    """ "95 %"."""
    return f"{100 * report.confidence:g} %"


def evaluated_speakers(report: Report) -> str:
    """The evaluated speakers as a headline names them."""
    shared = report.audit.shared.get(f"train/{report.evaluated_split}", {})
    if report.protocol.leak or shared.get("speakers"):
        return f"{report.evaluated_split} clips of training speakers"
    if report.kind == "evaluation":  # of a foreign model the training speakers may be unknown
        return "possibly known speakers" if shared.get("speakers") is None else "new speakers"
    return f"the {report.evaluated_split} speakers"


def run_kind(report: Report) -> str:
    """``fold`` or ``seed``: what a report over several runs averages over."""
    return "fold" if report.protocol.folds else "seed"


def chance_of(report: Report) -> float | None:
    """UAR of guessing: 1 over the number of evaluated classes."""
    classes = sum(1 for row in report.per_class.values() if row.support)
    return 1 / classes if classes else None


def headline(report: Report) -> list[str]:
    """The words below the large number: interval, runs, chance."""
    found = []
    if interval := report.intervals.get(report.main):
        found.append(f"{confidence(report)} interval {span(interval)}")
    if report.runs:
        spread = report.deviations.get(report.main)
        mean = f"mean of {counted(len(report.runs), run_kind(report))}"
        found.append(
            mean + (f", standard deviation {figure(spread)}" if spread is not None else "")
        )
    if chance := chance_of(report):
        found.append(f"chance {figure(chance)}")
    return found


def banners(report: Report) -> list[tuple[str, str, str]]:
    """(level, title, sentence) of all warnings, a leaky protocol first."""
    found = []
    if report.protocol.leak:
        found.append(
            (
                "error",
                f"Leaky protocol ({report.protocol.name or 'unnamed'}).",
                report.protocol.leak,
            )
        )
    if report.evaluated_split != "test":
        found.append(
            ("warning", f"Evaluated on the {report.evaluated_split} split.", development(report))
        )
    for warning in report.warnings:
        random = report.model.untrained and "was never trained" in warning
        found.append(
            ("error", "Random predictions.", warning) if random else ("warning", "Note:", warning)
        )
    return found


def splits(report: Report) -> list[str]:
    """A sentence for each split: its speakers, clips and role; over folds two sentences for all of
    them.
    """
    parts = report.protocol.parts
    folds = report.protocol.folds
    if folds:
        own = parts.get(report.evaluated_split, Split(clips=0, speakers=[]))
        return [
            f"{len(folds)} folds, each with its own train, validation and test clips.",
            f"All folds together are evaluated on {counted(len(own.speakers), 'speaker')} "
            f"({counted(own.clips, 'clip')}).",
            f"{selection(report)}.",
        ]
    sentences = []
    earlier = []
    for part in (part for part in _ROLES if part in parts):
        role = _ROLES[part] if part != "test" or report.evaluated_split == "test" else "not used"
        sentences.append(
            f"{_speakers(report, part, earlier)} ({counted(parts[part].clips, 'clip')}) {role}."
        )
        earlier.append(part)
    return sentences + [f"{selection(report)}."] * bool(report.selected_by)


def selection(report: Report) -> str:
    """What selected the published weights, as a sentence without its full stop."""
    by = NAMES.get(report.selected_by, report.selected_by)
    refit = report.training.refit or {}
    # each fold has its own speakers
    keys = ("folds",) if report.protocol.folds else ("folds", "speakers")
    numbers = ", ".join(
        counted(refit[key], key[:-1]) for key in keys if isinstance(refit.get(key), int)
    )
    sentence = f"The checkpoint was selected by {by} on the validation split"
    if report.model.solver == "sklearn":
        how = (
            f"{refit.get('selection')} of train and validation ({numbers})"
            if refit
            else "cross-validation on train"
        )
        sentence = f"The settings were selected by {by} in {how}"
    return sentence + ("; the model was then fitted to both splits" if refit else "")


def development(report: Report) -> str:
    """What to expect of results on the validation split."""
    biased = "These clips selected the checkpoint, so the results are too good. " * (
        report.model.solver != "sklearn"
    )
    return f"{biased}The test split was not used."


def degraded(report: Report) -> list[str]:
    """A line about the degraded clips, if they were evaluated."""
    areas = report.robustness.areas if report.robustness else {}
    scores = [f"{kind} {figure(getattr(area, report.main))}" for kind, area in areas.items()]
    return [f"degraded clips, mean {NAMES[report.main]}: {', '.join(scores)}"] if scores else []


def _speakers(report: Report, part: str, earlier: Sequence[str]) -> str:
    number = len(report.protocol.parts[part].speakers)
    shared = [report.audit.shared.get(f"{other}/{part}", {}).get("speakers") for other in earlier]
    known = max((count for count in shared if count), default=0)
    if not earlier:
        return counted(number, "speaker")
    if known == number:
        return f"The same {counted(number, 'speaker')}"
    if known:
        return f"{counted(number, 'speaker')}, {known:,} of them in earlier splits too,"
    return counted(number, "other speaker")


def audit_kinds(report: Report) -> list[str]:
    """The kinds that the audit counts."""
    return list(dict.fromkeys(kind for counts in report.audit.shared.values() for kind in counts))


def overlap(report: Report) -> list[tuple[str, str]]:
    """(level, sentence) for each kind that the audit counts. Levels are ok, note, error and
    unknown.
    """
    found = []
    for kind in audit_kinds(report):
        one, level, meaning = _KINDS[kind]
        counts = {
            pair.replace("/", " and "): own.get(kind) for pair, own in report.audit.shared.items()
        }
        unknown = [pair for pair, count in counts.items() if count is None]
        if several := [f"{count:,} in {pair}" for pair, count in counts.items() if count]:
            found.append(
                (level, f"{one.capitalize()}s in two splits: {listed(several)}: {meaning}.")
            )
        elif len(unknown) == len(counts):
            found.append(("unknown", f"Whether a {one} is in two splits is unknown."))
        elif unknown:
            found.append(
                (
                    "unknown",
                    f"No {one} is known to be in two splits; unknown for {listed(unknown)}.",
                )
            )
        else:
            found.append(("ok", f"No {one} is in two splits."))
    if report.audit.duplicates:
        clips = counted(report.audit.duplicates, "clip")
        found.append(("note", f"Copies of another clip within a split: {clips}."))
    return found


def temperature(report: Report) -> str | None:
    """The effect of the fitted temperature on the probabilities; None without one, or if a warning
    describes it.
    """
    if report.temperatures:
        each = listed([f"{value:.3g}" for value in report.temperatures.values()])
        kind = run_kind(report)
        return (
            f"Temperatures fitted on the validation splits of the {len(report.temperatures)} "
            f"{kind}s: {each}."
        )
    own = report.temperature
    if not own or at_limit(own.value):
        return None
    changes = [
        f"{NAMES[key]} from {figure(getattr(own.before, key))} to {figure(getattr(own.after, key))}"
        for key in ("log_loss", "ece", "brier")
    ]
    applied = (
        "and the published model applies it"
        if own.stored
        else "but the published model does not apply it"
    )
    verb = "changes" if own.stored else "would change"
    return (
        f"Temperature {own.value:.3g} was fitted on the validation split, {applied}. It {verb} "
        f"{listed(changes)} on the {report.evaluated_split} split. Predictions do not change, "
        "except for clips that are split into windows."
    )


def slices(report: Report) -> list[dict[str, Any]]:
    """A table for each column, speakers from the lowest to the highest score, with the gap as a
    sentence.
    """
    tables = []
    for column, values in report.slices.items():
        rows = list(values.items())
        if column == "speaker":
            rows.sort(
                key=lambda row: (
                    getattr(row[1], report.main) is None,
                    getattr(row[1], report.main) or 0.0,
                )
            )
        tables.append(
            {"title": column.replace("_", " "), "rows": rows, "gap": _gap(report, column)}
        )
    return tables


def _gap(report: Report, column: str) -> str:
    own = (report.gaps or {}).get(column)
    values = report.slices[column]
    if own is None or not own.gap:
        return (
            "No difference between the groups."
            if own
            else "Too few clips or speakers to compare groups."
        )
    interval = f" ({confidence(report)} interval {span(own.interval)})" if own.interval else ""
    return (
        f"Lowest: {own.worst} with {NAMES[report.main]} "
        f"{figure(getattr(values[own.worst], report.main))}; highest: {own.best} with "
        f"{figure(getattr(values[own.best], report.main))}; a gap of {figure(own.gap)}{interval}."
    )


def confidence_and_accuracy(report: Report) -> tuple[float, float]:
    """Mean probability of the predictions, and the share of correct ones."""
    bins = [one for one in report.calibration.bins if one.clips]
    clips = sum(one.clips for one in bins)
    confident = sum(one.clips * one.confidence for one in bins)
    return confident / clips, sum(one.clips * one.accuracy for one in bins) / clips


def cost(report: Report) -> dict[str, str]:
    """Parameters, time and machine, by name."""
    model = report.model
    seconds = report.seconds
    machine = report.environment
    own = report.training
    found = {
        "Parameters": model.parameters and f"{model.parameters:,}",
        "Trainable parameters": model.learning and f"{model.learning:,}",
        "Audio preparation": duration(seconds.preparation),
        "Training": duration(seconds.training),
        "Time per epoch": duration(seconds.per_epoch),
        "Evaluation": duration(seconds.judgement),
        "Precision": own.precision and f"training in {own.precision}, evaluation in fp32",
        "Batch size per step": own.clips_per_step and f"{own.clips_per_step:,}",
        "Strategy": own.strategy,
        "Machine": machine.accelerator or machine.processor,
        "Cores": machine.cores and f"{machine.cores}",
        "Threads": machine.threads and f"{machine.threads}",
        "Processes": str(machine.processes) if machine.processes > 1 else None,
    }
    return {name: value for name, value in found.items() if value}


def result_sentence(report: Report) -> str:
    """The result in one sentence, to be quoted in a paper."""
    protocol = report.protocol
    main = report.main
    metrics = [f"{NAMES[key]} {figure(report.metrics[key])}" for key in report.measured.beside]
    result = f"{report.name}: {NAMES[main]} {figure(report.metrics[main])}"
    if words := headline(report):
        result += f" ({'; '.join(words)})"
    split = f"protocol {protocol.name or 'unnamed'}{', leaky' if protocol.leak else ''}"
    split += f", split {protocol.sha256[:16]}" if protocol.sha256 else ""
    outputs = "classes" if report.confusion else f"dimensions ({', '.join(report.labels)})"
    return (
        f"{', '.join([result, *metrics])}; {len(report.labels)} {outputs}; {split}, "
        f"{report.evaluated_split} clips."
    )


def bibtex(environment: Mapping[str, Any]) -> str:
    """BibTeX of the toolkit, for the versions and the revision of a report's environment."""
    fields = {
        "title": (
            "{ser_hf}: fine-tune, evaluate and publish speech emotion recognizers on the Hugging "
            "Face stack"
        ),
        "author": "{The ser_hf developers}",
        "version": environment.versions.get("ser_hf"),
        "note": environment.git_revision and f"Revision {environment.git_revision[:12]}",
        "license": "Apache-2.0",
    }
    lines = [f"  {key} = {{{value}}}," for key, value in fields.items() if value]
    return "\n".join(["@software{ser_hf,", *lines, "}"])
