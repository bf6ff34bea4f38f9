"""A report as people read it: facts as sentences, and the content of each section; None for one without content."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.metrics import DEFINITIONS, NAMES
from .report import Energy, Report, Split

# A table with more rows than this scrolls.
TALL = 14
# The metrics of small tables.
SHORT = ("uar", "wa", "macro_f1", "weighted_f1")


# What the speakers of each split were used for.
_ROLES = {"train": "for training", "validation": "to select the checkpoint", "test": "for the final test, once"}
# For each kind that an audit counts: its name, and what it means if two splits share some.
_KINDS = {
    "speakers": ("speaker", "error", "voices of the training data are evaluated again"),
    "sessions": ("session", "note", "same room, day and partners"),
    "sentences": ("sentence", "note", "the words are known, which a fixed list of sentences cannot avoid"),
    "recordings": ("recording", "error", "the same samples are evaluated again"),
    "near_duplicates": ("near duplicate", "error", "the same take, cut, re-encoded or re-leveled"),
}


def counted(number: int, word: str) -> str:
    """ "1 clip", "1,440 clips"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def confidence(report: Report) -> str:
    """ "95 %"."""
    return f"{100 * report.confidence:g} %"


def evaluated_speakers(report: Report) -> str:
    """The evaluated speakers as a headline names them."""
    shared = report.audit.shared.get(f"train/{report.judged_on}", {})
    if report.protocol.leak or shared.get("speakers"):
        return f"{report.judged_on} clips of training speakers"
    if report.kind == "evaluation":  # of a foreign model the training speakers may be unknown
        return "possibly known speakers" if shared.get("speakers") is None else "new speakers"
    return f"the {report.judged_on} speakers"


def banners(report: Report) -> list[tuple[str, str, str]]:
    """(level, title, sentence) of all warnings, a leaky protocol first."""
    found = []
    if report.protocol.leak:
        found.append(("error", f"Leaky protocol ({report.protocol.name or 'unnamed'}).", report.protocol.leak))
    if report.judged_on != "test":
        sentence = "These clips selected the checkpoint, so the results are too good. The test split was not used."
        found.append(("warning", f"Evaluated on the {report.judged_on} split.", sentence))
    for warning in report.warnings:
        void = report.model.untrained and "was never trained" in warning
        found.append(("error", "Random predictions.", warning) if void else ("warning", "Note:", warning))
    return found


def splits(report: Report) -> list[str]:
    """A sentence for each split: its speakers, clips and role; over folds two sentences for all of them."""
    parts, folds = report.protocol.parts, report.protocol.folds
    selected = f", by {NAMES.get(report.selected_by, report.selected_by)}" if report.selected_by else ""
    if folds:
        own = parts.get(report.judged_on, Split(clips=0, speakers=[]))
        total = f"{counted(len(own.speakers), 'speaker')} ({counted(own.clips, 'clip')})"
        each = "with its own train, validation and test clips"
        if not report.protocol.leak:
            each = f"on some speakers; other speakers select the checkpoint{selected}, and "
            each += "others test it" if report.judged_on == "test" else "evaluate it; the test speakers are not used"
        return [
            f"{len(folds)} folds, each with a network trained {each}.",
            f"All folds together are evaluated on {total}.",
        ]
    sentences, earlier = [], []
    for part in ("train", "validation", "test"):
        if part not in parts:
            continue
        role = _ROLES[part] if part != "test" or report.judged_on == "test" else "not used"
        role += selected if part == "validation" else ""
        sentences.append(f"{_speakers(report, part, earlier)} ({counted(parts[part].clips, 'clip')}) {role}.")
        earlier.append(part)
    return sentences


def _speakers(report: Report, part: str, earlier: Sequence[str]) -> str:
    number = len(report.protocol.parts[part].speakers)
    shared = [report.audit.shared.get(f"{other}/{part}", {}).get("speakers") for other in earlier]
    known = max((count for count in shared if count), default=0)
    if not earlier:
        return counted(number, "speaker")
    if known == number:
        return "The same speaker" if number == 1 else f"The same {number:,} speakers"
    if known:
        return f"{counted(number, 'speaker')}, {known:,} of them in earlier splits too,"
    return "1 other speaker" if number == 1 else f"{number:,} other speakers"


def overlap(report: Report) -> list[tuple[str, str]]:
    """(level, sentence) for each kind that the audit counts. Levels are ok, note, error and unknown."""
    pairs, found = report.audit.shared, []
    for kind in dict.fromkeys(kind for counts in pairs.values() for kind in counts):
        one, level, meaning = _KINDS.get(kind, (kind.removesuffix("s"), "note", "they are not kept apart"))
        counts = {pair: own.get(kind) for pair, own in pairs.items()}
        several = {pair: count for pair, count in counts.items() if count}
        if several:
            where = listed([f"{count:,} in {pair.replace('/', ' and ')}" for pair, count in several.items()])
            if len(several) == len(counts) > 1 and len(set(counts.values())) == 1:
                where = f"{counts[next(iter(counts))]:,} in each pair of them"
            found.append((level, f"{one.capitalize()}s in two splits: {where}: {meaning}."))
        elif all(count is None for count in counts.values()):
            unknown = f"Whether a {one} is in two splits is not known."
            found.append(("unknown", "Near duplicates were not searched." if kind == "near_duplicates" else unknown))
        elif None in counts.values():
            unknown = listed([pair.replace("/", " and ") for pair, count in counts.items() if count is None])
            found.append(("unknown", f"No {one} is known to be in two splits; unknown for {unknown}."))
        else:
            found.append(("ok", f"No {one} is in two splits."))
    if report.audit.duplicates:
        verb = "repeats" if report.audit.duplicates == 1 else "repeat"
        found.append(("note", f"{counted(report.audit.duplicates, 'clip')} {verb} another clip within a split."))
    return found


def headline(report: Report) -> list[str]:
    """What is printed below the large number: interval, runs, chance."""
    found = []
    if interval := report.intervals.get("uar"):
        found.append("{} interval {:.3f} to {:.3f}".format(confidence(report), *interval))
    if report.runs:
        spread = report.deviations.get("uar")
        mean = f"mean of {len(report.runs)} {'folds' if report.protocol.folds else 'seeds'}"
        found.append(mean + (f", standard deviation {spread:.3f}" if spread is not None else ""))
    if chance := chance_of(report):
        found.append(f"chance {chance:.3f}")
    return found


def chance_of(report: Report) -> float | None:
    """UAR of guessing: 1 over the number of evaluated classes."""
    classes = sum(1 for row in report.per_class.values() if row.support)
    return 1 / classes if classes else None


def temperature(report: Report) -> str | None:
    """The effect of the fitted temperature on the probabilities; None without one."""
    if report.temperatures:
        each = listed([f"{value:.3g}" for value in report.temperatures.values()])
        return f"Temperatures fitted on the validation splits of the {len(report.temperatures)} runs: {each}."
    own = report.temperature
    if not own:
        return None
    names = {"log_loss": "log loss", "ece": "ECE", "brier": "Brier score"}
    changes = listed(
        [f"{name} from {getattr(own.before, key):.3f} to {getattr(own.after, key):.3f}" for key, name in names.items()]
    )
    applied = "and the published model applies it" if own.stored else "but the published model does not apply it"
    verb = "changes" if own.stored else "would change"
    return (
        f"Temperature {own.value:.3g} was fitted on the validation split, {applied}. It {verb} {changes} on the "
        f"{report.judged_on} split. Predictions do not change, except for clips that are split into windows."
    )


def results(report: Report) -> list[dict[str, Any]]:
    """Every metric with its definition, intervals and deviation."""
    return [
        {
            "name": NAMES.get(key, key),
            "definition": DEFINITIONS.get(key, ""),
            "value": value,
            "interval": report.intervals.get(key),
            "clip_interval": report.clip_intervals.get(key),
            "deviation": report.deviations.get(key),
            "pooled": report.pooled and report.pooled.metrics.get(key),
        }
        for key, value in report.metrics.items()
    ]


def protocol(report: Report) -> dict[str, Any] | None:
    """Speakers and overlap of the splits in sentences, and the counts."""
    if not report.protocol.parts:
        return None
    return {
        "splits": splits(report),
        "overlap": overlap(report),
        "kinds": list(dict.fromkeys(kind for counts in report.audit.shared.values() for kind in counts)),
    }


def classes(report: Report) -> dict[str, Any] | None:
    """Clips of each class (rows) in each split (columns), with their `share` of the largest class of the split."""
    parts = report.class_distribution
    if not parts:
        return None
    largest = {part: max(1, *counts.values()) for part, counts in parts.items()}
    rows = {
        label: [{"clips": counts[label], "share": counts[label] / largest[part]} for part, counts in parts.items()]
        for label in report.labels
    }
    return {"parts": {part: sum(counts.values()) for part, counts in parts.items()}, "rows": rows}


def training(report: Report) -> dict[str, Any] | None:
    """Metrics of the same weights on each split, the evaluated one last."""
    parts = {part: scores for part, scores in report.parts.items() if part != report.judged_on}
    if not parts:
        return None
    parts[report.judged_on] = report.metrics
    metrics = {key: NAMES[key] for key in SHORT[:3] if all(key in scores for scores in parts.values())}
    return {"parts": parts, "metrics": metrics}


def confusion(
    counts: Sequence[Sequence[int]], names: Sequence[str], verb: str = "predicted as"
) -> list[dict[str, Any]]:
    """A row for each true class: cells with count, share of the row, a sentence, and the darkness of the color."""
    rows = []
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = sum(row)
        cells = []
        for j, count in enumerate(row):
            share = count / total if total else 0.0
            # The text color changes where the contrast would fall below 4.5, on a light page later than on a dark one.
            depth = "deep" if share > 0.73 else "middle" if share > 0.575 else ""
            sentence = f"{name} {verb} {names[j]}: {count:,} of {total:,}"
            cells.append({"count": count, "share": share, "told": sentence, "right": i == j, "depth": depth})
        rows.append({"label": name, "cells": cells, "total": total})
    return rows


def slices(report: Report) -> list[dict[str, Any]] | None:
    """A table for each column, speakers from the lowest to the highest score, with the gap as a sentence."""
    tables = []
    for column, values in report.slices.items():
        rows = [{"value": value, **row.model_dump()} for value, row in values.items()]
        if column == "speaker":
            rows.sort(key=lambda row: row["uar"])
        title = column.replace("_", " ")
        tables.append({"title": title, "rows": rows, "gap": _gap(report, column), "tall": len(rows) > TALL})
    return tables or None


def _gap(report: Report, column: str) -> str:
    own, values = (report.gaps or {}).get(column), report.slices[column]
    if own is None:
        return "Too few clips or speakers to compare groups."
    sentence = (
        f"Lowest: {own.worst} with UAR {values[own.worst].uar:.3f}; highest: {own.best} with "
        f"{values[own.best].uar:.3f}; a gap of {own.gap:.3f}"
    )
    if own.interval:
        ends = "{:.3f} to {:.3f}".format(*own.interval).replace("-", "−")
        sentence += f" ({confidence(report)} interval {ends})"
    return sentence + "."


def corpora(report: Report) -> list[dict[str, Any]] | None:
    """A row for each corpus, with its frequent confusions and its confusion matrix."""
    rows = []
    for corpus, own in report.corpora.items():
        frequent = [
            f"{one.label} as {one.taken_for} ({100 * one.share:.0f} %)"
            + (f", no label of {corpus}" if one.foreign else "")
            for one in own.collisions[:3]
        ]
        kept = [row for row in confusion(own.confusion, report.labels) if row["total"]]
        rows.append({"corpus": corpus, "scores": own, "frequent": "; ".join(frequent) or "none", "confusion": kept})
    return rows or None


def foil(report: Report) -> dict[str, Any] | None:
    """The results under the leaky protocol beside those of the report."""
    own = report.foil
    if not own:
        return None
    rows = [
        {"name": NAMES[key], "honest": own.against[key], "leaky": own.metrics[key], "gap": own.gap[key]}
        for key in SHORT
        if key in own.gap
    ]
    return {"protocol": own.protocol, "rows": rows, "flatters": own.gap["uar"] > 0}


def runs(report: Report) -> dict[str, Any] | None:
    """A row for each fold or seed."""
    if not report.runs:
        return None
    rows = []
    for number, own in report.runs.items():
        clips = own.parts[report.judged_on].clips if report.judged_on in own.parts else None
        validation = (own.validation or {}).get("uar")
        rows.append(
            {"number": number, "tested": own.tested, "clips": clips, "metrics": own.metrics, "validation": validation}
        )
    kind = "fold" if report.protocol.folds else "seed"
    return {"kind": kind, "rows": rows, "chosen": getattr(report, f"chosen_{kind}")}


def perceived(report: Report) -> dict[str, Any] | None:
    """The predictions compared with the other label of the clips."""
    own = report.perceived
    if not own:
        return None
    rows = [
        {"name": NAMES[key], "own": own.same_clips[key], "other": own.metrics[key]}
        for key in SHORT
        if key in own.metrics
    ]
    by_raters = own.by == "perceived"
    table = confusion(own.counts, report.labels, "was perceived as" if by_raters else "was intended as")
    label = "intended" if by_raters else "perceived"
    return {"label": label, "rows": rows, "table": [row for row in table if row["total"]]}


def calibration(report: Report) -> dict[str, Any] | None:
    """The nonempty bins of the reliability diagram, and the temperature as a sentence."""
    own = report.calibration
    if not own:
        return None
    bins = [one for one in own.bins if one.clips]
    clips = sum(one.clips for one in bins)
    return {
        "ece": own.ece,
        "bins": bins,
        "confidence": sum(one.clips * one.confidence for one in bins) / clips,
        "accuracy": sum(one.clips * one.accuracy for one in bins) / clips,
        "temperature": temperature(report),
    }


def cost(report: Report) -> dict[str, str] | None:
    """Parameters, time, energy and machine, by name."""
    model, seconds, machine, own = report.model, report.seconds, report.environment, report.training
    found = {
        "Parameters": model.parameters and f"{model.parameters:,}",
        "Trainable parameters": model.learning and f"{model.learning:,}",
        "Audio preparation": duration(seconds.preparation),
        "Training": duration(seconds.training),
        "Time per epoch": duration(seconds.per_epoch),
        "Evaluation": duration(seconds.judgement),
        "Energy": energy(report.energy),
        "Precision": own.precision,
        "Batch size per step": own.clips_per_step and f"{own.clips_per_step:,}",
        "Strategy": own.strategy,
        "Machine": machine.accelerator or machine.processor,
        "Cores": machine.cores and f"{machine.cores}",
        "Threads": machine.threads and f"{machine.threads}",
        "Processes": str(machine.processes) if machine.processes > 1 else None,
    }
    return {name: value for name, value in found.items() if value} or None


def environment(report: Report) -> dict[str, str] | None:
    """Versions, platform and revision, by name."""
    own = report.environment
    found = {**own.versions, "platform": own.platform, "git revision": own.git_revision}
    return {name: value for name, value in found.items() if value} or None


def energy(own: Energy | None) -> str | None:
    """The energy of a training, if it was measured."""
    if not own:
        return None
    amount = f"{own.kwh:.3g} kWh" if own.kwh >= 0.1 else f"{1000 * own.kwh:.3g} Wh"
    sentence = f"{amount} in training, estimated by {own.measured_by}"
    if own.emissions_kg is not None:
        sentence += f"; {1000 * own.emissions_kg:.3g} g of CO2 equivalents on the grid of {own.country}"
    return sentence


def duration(seconds: float | None) -> str | None:
    """Seconds in a suitable unit."""
    if seconds is None:
        return None
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def cite(report: Report, corpus: Mapping[str, Any] | None) -> dict[str, Any]:
    """A sentence for a paper, BibTeX of the toolkit, and the citation of the corpora."""
    machine = report.environment
    fields = {
        "title": "{ser_hf}: fine-tune, evaluate and publish speech emotion recognizers on the Hugging Face stack",
        "author": "{The ser_hf developers}",
        "version": machine.versions.get("ser_hf"),
        "note": machine.git_revision and f"Revision {machine.git_revision[:12]}",
        "license": "Apache-2.0",
    }
    lines = [f"  {key} = {{{value}}}," for key, value in fields.items() if value]
    return {"sentence": _sentence(report), "bibtex": "\n".join(["@software{ser_hf,", *lines, "}"]), "corpus": corpus}


def _sentence(report: Report) -> str:
    metrics, protocol = report.metrics, report.protocol
    sentence = f"{report.name}: UAR {metrics['uar']:.3f}"
    if interval := report.intervals.get("uar"):
        own = protocol.parts.get(report.judged_on)
        drawn = f" over {counted(len(own.speakers), 'speaker')} and their clips" if own else ""
        ends = "{:.3f} to {:.3f}".format(*interval)
        sentence += f" ({confidence(report)} interval {ends}, hierarchical bootstrap{drawn})"
    sentence += f", macro-F1 {metrics['macro_f1']:.3f}, WA {metrics['wa']:.3f}"
    if report.runs:
        sentence += f", mean of {len(report.runs)} {'folds' if protocol.folds else 'seeds'}"
    sentence += f"; {len(report.labels)} classes; protocol {protocol.name or 'unnamed'}"
    if protocol.leak:
        sentence += " (leaky: speakers are shared with the train split)"
    if protocol.sha256:
        sentence += f", split {protocol.sha256[:16]}"
    return sentence + (f", evaluated on the {report.judged_on} split." if report.judged_on != "test" else ".")
