"""Texts and tables from a report, for pages, cards and the terminal."""

import dataclasses
from collections.abc import Sequence

from ..evaluation.calibration import at_limit
from ..evaluation.conditions import KINDS
from ..evaluation.maps import METHOD_NAMES as METHOD_NAMES
from ..evaluation.metrics import NAMES
from ..evaluation.sections import HardClip, Slice
from .report import Report
from .sections import Environment, Split

# {split: its use}
_ROLES = {
    "train": "for training",
    "validation": "for validation",
    "test": "for the final test, once",
}
# {`training.balance`: the groups that have equal shares of an epoch}
BALANCED = {
    "corpus": "all corpora",
    "class": "all classes",
    "corpus_and_class": "all corpora and of their classes",
}
# For each kind that an audit counts: its name, the level of a finding if two splits share values of
# this kind, and what this means.
_KINDS = {
    "speakers": ("speaker", "error", "voices of the training data are evaluated again"),
    "sessions": ("session", "note", "same room, day and partners"),
    "sentences": ("sentence", "note", "the words are known, which a fixed list cannot avoid"),
    "recordings": ("recording", "error", "the same samples are evaluated again"),
    "near_duplicates": ("near duplicate", "error", "the same take, cut, re-encoded or re-leveled"),
}


def counted(number: int, word: str) -> str:
    """A number with its noun, such as "1 clip" or "1,440 clips"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """The words as a list in a sentence, such as "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def figure(value: float | None, digits: int = 3) -> str:
    """A score with a fixed number of digits; a dash for an undefined one."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None) -> str:
    """A difference with its sign; a dash for an undefined one."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def span(interval: Sequence[float] | None, digits: int = 3) -> str:
    """Both ends of an interval as text; a dash without an interval."""
    return "–" if interval is None else " to ".join(figure(end, digits) for end in interval)


def duration(seconds: float | None) -> str | None:
    """A duration as text, in a suitable unit."""
    if seconds is None:
        return None
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def share(value: float | None) -> str:
    """The position of a score on an axis from 0 to 1, in percent."""
    return f"{100 * min(max(value or 0.0, 0.0), 1.0):.1f}"


FORMATS = {"counted": counted, "figure": figure, "signed": signed, "span": span, "share": share}


def confidence(report: Report) -> str:
    """The confidence level as text, such as "95 %"."""
    return f"{100 * report.confidence:g} %"


def evaluated_speakers(report: Report) -> str:
    """The words for the evaluated speakers in a headline."""
    shared = report.audit.shared.get(f"train/{report.evaluated_split}", {})
    if report.protocol.leak or shared.get("speakers"):
        return f"{report.evaluated_split} clips of training speakers"
    if report.kind == "evaluation":
        # The training speakers of a model of another origin may be unknown.
        return "possibly known speakers" if shared.get("speakers") is None else "new speakers"
    return f"the {report.evaluated_split} speakers"


def run_kind(report: Report) -> str:
    """The word for one run of a report over several runs: ``fold`` or ``seed``."""
    return "fold" if report.protocol.folds else "seed"


def chance_of(report: Report) -> float | None:
    """The main metric of guessing; None for dimensions.

    The UAR of guessing is 1 / the number of evaluated classes. The macro-F1 of sets of labels is
    that of a model that predicts every label for every clip.
    """
    if report.measured.has_votes:
        return _chance_of_sets(report)
    if not report.measured.one_label:
        return None
    classes = sum(1 for row in report.per_class.values() if row.support)
    return 1 / classes if classes else None


def _chance_of_sets(report: Report) -> float | None:
    """The macro-F1 if every label is predicted for every clip; None without clips."""
    if not report.clips:
        return None
    shares = [row.support / report.clips for row in report.per_class.values() if row.support]
    if not shares:
        return None
    return sum(2 * share / (1 + share) for share in shares) / len(shares)


def label_decision(report: Report) -> str:
    """How labels are decided, if a clip may have several; empty for other tasks."""
    section = report.label_threshold
    if section is None:
        if report.label_thresholds:
            values = [figure(value, 2) for value in report.label_thresholds.values()]
            return f"A label is predicted above a probability, by {run_kind(report)}: " + (
                f"{listed(values)}."
            )
        return ""
    chosen = "set by the recipe"
    if section.chosen_by == "validation":
        chosen = "which has the best macro-F1 on the validation split"
    return (
        f"A label is predicted if its probability is above {figure(section.value, 2)}, {chosen}. "
        f"{100 * section.positives:.0f} % of the decisions on a label are true, and "
        f"{100 * section.predicted:.0f} % are predicted."
    )


def headline(report: Report) -> list[str]:
    """The text below the main metric of the page: its interval, number of runs, chance level."""
    words = []
    interval = report.intervals.get(report.main)
    if interval:
        words.append(f"{confidence(report)} interval {span(interval)}")
    if report.runs:
        mean = f"mean of {counted(len(report.runs), run_kind(report))}"
        deviation = report.deviations.get(report.main)
        if deviation is not None:
            mean += f", standard deviation {figure(deviation)}"
        words.append(mean)
    chance = chance_of(report)
    if chance:
        words.append(f"chance {figure(chance)}")
    return words


def banners(report: Report) -> list[tuple[str, str, str]]:
    """All warnings as (level, title, sentence); a leaky protocol is first."""
    rows = []
    if report.protocol.leak:
        title = f"Leaky protocol ({report.protocol.name or 'unnamed'})."
        rows.append(("error", title, report.protocol.leak))
    if report.evaluated_split != "test":
        title = f"Evaluated on the {report.evaluated_split} split."
        rows.append(("warning", title, development(report)))
    for warning in report.warnings:
        rows.append(("warning", "Note:", warning))
    return rows


def splits(report: Report) -> list[str]:
    """A sentence for each split, with its speakers, clips and use.

    A report over folds has three sentences about all folds instead.
    """
    parts = report.protocol.parts
    if report.protocol.folds:
        evaluated = parts.get(report.evaluated_split, Split(clips=0, speakers=[]))
        folds = len(report.protocol.folds)
        return [
            f"{folds} folds, each with its own train, validation and test clips.",
            f"All folds together are evaluated on {counted(len(evaluated.speakers), 'speaker')} "
            f"({counted(evaluated.clips, 'clip')}).",
            f"{selection(report)}.",
        ]
    sentences = []
    earlier: list[str] = []
    for part, role in _ROLES.items():
        if part not in parts:
            continue
        if part == "test" and report.evaluated_split != "test":
            role = "not used"
        clips = counted(parts[part].clips, "clip")
        sentences.append(f"{_speakers(report, part, earlier)} ({clips}) {role}.")
        earlier.append(part)
    if report.selected_by:
        sentences.append(f"{selection(report)}.")
    return sentences


def selection(report: Report) -> str:
    """A sentence, without its full stop, about the selection of the published weights."""
    by = NAMES.get(report.selected_by, report.selected_by)
    refit = report.training.refit
    if report.training.selection == "last":
        sentence = "No epoch was selected: the weights are those of the last one"
    elif report.model.solver != "sklearn":
        sentence = f"The checkpoint was selected by {by} on the validation split"
    elif refit:
        # Each fold has its own speakers, so a number of speakers does not hold for all folds.
        keys = ["folds"] if report.protocol.folds else ["folds", "speakers"]
        numbers = [counted(refit[key], key[:-1]) for key in keys if isinstance(refit.get(key), int)]
        sentence = (
            f"The settings were selected by {by} in {refit.get('selection')} of train and "
            f"validation ({', '.join(numbers)})"
        )
    else:
        sentence = f"The settings were selected by {by} in cross-validation on train"
    return f"{sentence}; the model was then fitted to both splits" if refit else sentence


def development(report: Report) -> str:
    """Sentences that limit the results on the validation split."""
    unused = "The test split was not used."
    if report.model.solver == "sklearn" or report.training.selection == "last":
        return unused
    return f"These clips selected the checkpoint, so the results are too good. {unused}"


def degraded(report: Report) -> list[str]:
    """A line with the mean scores of the degraded clips, if they were evaluated."""
    if not report.robustness or not report.robustness.areas:
        return []
    areas = report.robustness.areas.items()
    scores = [
        f"{kind_of_conditions(kind)} {figure(getattr(area, report.main))}" for kind, area in areas
    ]
    return [f"degraded clips, mean {NAMES[report.main]}: {', '.join(scores)}"]


def kind_of_conditions(kind: str) -> str:
    """The name of a kind of conditions of `robustness`, such as pink noise."""
    return KINDS[kind].title


def silhouette_text(groups: str, value: float | None) -> str:
    """A sentence with the silhouette of groups of clips, `emotions` or `speakers`."""
    if value is None:
        return f"The silhouette of {groups} is undefined."
    return f"Silhouette of {groups}: {figure(value)}."


def separation(report: Report) -> str:
    """Sentences that compare the silhouettes of emotions and speakers in the embeddings."""
    section = report.embeddings
    emotions = section.emotions
    speakers = section.speakers
    silhouettes = (
        f"Mean silhouette coefficients: emotions {figure(emotions)}, speakers {figure(speakers)}."
    )
    if emotions is None and speakers is None:
        return "The silhouettes of emotions and of speakers are undefined."
    if emotions is None or speakers is None:
        return silhouettes
    better = "emotion"
    worse = "speaker"
    if speakers > emotions:
        better, worse = worse, better
    if max(emotions, speakers) <= 0:
        return (
            f"The groups overlap, those of each {worse} more than those of each {better}. "
            f"{silhouettes}"
        )
    return f"The embeddings group clips by {better} more than by {worse}. {silhouettes}"


def map_text(report: Report) -> str:
    """The alternative text of the map of embeddings by emotion."""
    section = report.embeddings
    return (
        f"{METHOD_NAMES[section.method]} of the embeddings of {section.clips} clips, colored by "
        f"emotion; crosses are wrong predictions. {silhouette_text('emotions', section.emotions)}"
    )


def occlusion_text(clip: HardClip) -> str:
    """On which window and which band the prediction of a clip depends most; empty if unknown."""
    occlusion = clip.occlusion
    if occlusion is None:
        return ""
    window = max(range(len(occlusion.starts)), key=occlusion.drop_by_window.__getitem__)
    band = max(range(len(occlusion.drop_by_band)), key=occlusion.drop_by_band.__getitem__)
    start = occlusion.starts[window]
    end = start + occlusion.seconds
    low, high = occlusion.edges[band : band + 2]
    without_window = occlusion.probability - occlusion.drop_by_window[window]
    without_band = occlusion.probability - occlusion.drop_by_band[band]
    return (
        f"The probability of {clip.predicted} is {_percent(occlusion.probability)}; it is lowest "
        f"without {start:.1f} to {end:.1f} s ({_percent(without_window)}) and without {low:.0f} to "
        f"{high:.0f} Hz ({_percent(without_band)})."
    )


def _percent(share: float) -> str:
    return f"{100 * min(max(share, 0), 1):.0f} %"


def embeddings(report: Report) -> list[str]:
    """A line with the silhouettes of the embeddings, if they were computed."""
    section = report.embeddings
    if section is None or section.missing is not None:
        return []
    if section.emotions is None and section.speakers is None:
        return []
    return [
        f"embeddings, silhouette: emotions {figure(section.emotions)}, "
        f"speakers {figure(section.speakers)}"
    ]


def _speakers(report: Report, part: str, earlier: Sequence[str]) -> str:
    """The number of speakers of a split, and the number of them in earlier splits, as words."""
    number = len(report.protocol.parts[part].speakers)
    if not earlier:
        return counted(number, "speaker")
    pairs = [report.audit.shared.get(f"{other}/{part}", {}) for other in earlier]
    shared = max(counts.get("speakers") or 0 for counts in pairs)
    if not shared:
        return counted(number, "other speaker")
    if shared == number:
        return f"The same {counted(number, 'speaker')}"
    return f"{counted(number, 'speaker')}, {shared:,} of them in earlier splits too,"


def audit_kinds(report: Report) -> list[str]:
    """The kinds that the audit counts."""
    return list(dict.fromkeys(kind for counts in report.audit.shared.values() for kind in counts))


def overlap(report: Report) -> list[tuple[str, str]]:
    """A (level, sentence) for each kind that the audit counts.

    Levels are ok, note, error and unknown.
    """
    rows = [_overlap_of(report, kind) for kind in audit_kinds(report)]
    if report.audit.duplicates:
        clips = counted(report.audit.duplicates, "clip")
        rows.append(("note", f"Copies of another clip within a split: {clips}."))
    return rows


def _overlap_of(report: Report, kind: str) -> tuple[str, str]:
    name, level, meaning = _KINDS[kind]
    shared = []
    unknown = []
    for pair, counts in report.audit.shared.items():
        splits_in_words = pair.replace("/", " and ")
        count = counts.get(kind)
        if count is None:
            unknown.append(splits_in_words)
        elif count:
            shared.append(f"{count:,} in {splits_in_words}")
    if shared:
        return level, f"{name.capitalize()}s in two splits: {listed(shared)}: {meaning}."
    if len(unknown) == len(report.audit.shared):
        return "unknown", f"Whether a {name} is in two splits is unknown."
    if unknown:
        sentence = f"No {name} is known to be in two splits; unknown for {listed(unknown)}."
        return "unknown", sentence
    return "ok", f"No {name} is in two splits."


def temperature(report: Report) -> str | None:
    """Sentences about the effect of the fitted temperature on the probabilities.

    None without a temperature, or if a warning describes it.
    """
    if report.temperatures:
        values = listed([f"{value:.3g}" for value in report.temperatures.values()])
        return (
            f"Temperatures fitted on the validation splits of the {len(report.temperatures)} "
            f"{run_kind(report)}s: {values}."
        )
    scaling = report.temperature
    if not scaling or at_limit(scaling.value):
        return None
    changes = []
    for key in ("log_loss", "ece", "brier"):
        before = figure(getattr(scaling.before, key))
        after = figure(getattr(scaling.after, key))
        changes.append(f"{NAMES[key]} from {before} to {after}")
    applied = "but the published model does not apply it"
    verb = "would change"
    if scaling.stored:
        applied = "and the published model applies it"
        verb = "changes"
    return (
        f"Temperature {scaling.value:.3g} was fitted on the validation split, {applied}. It {verb} "
        f"{listed(changes)} on the {report.evaluated_split} split. Predictions do not change, "
        "except for clips that are split into windows."
    )


def rating_scale(report: Report) -> str | None:
    """Sentence about the calibration of dimensions and its effect; None without a calibration."""
    if not report.rating_scale:
        return None
    changes = []
    unchanged = []
    for name, effect in report.rating_scale.items():
        if (effect.slope, effect.offset) == (1, 0):
            unchanged.append(name)
            continue
        changes.append(
            f"of {name} the CCC from {figure(effect.ccc_before)} to {figure(effect.ccc_after)}, "
            f"and the predictions outside of the scale from {effect.outside_before:.1%} to "
            f"{effect.outside_after:.1%}"
        )
    sentences = []
    if changes:
        sentences.append(
            "A linear map to the scale of the ratings was fitted on the validation split, and the "
            f"published model contains it. On the {report.evaluated_split} split it changes "
            f"{listed(changes)}."
        )
    if unchanged:
        verb = "keeps" if len(unchanged) == 1 else "keep"
        sentences.append(
            f"{listed(unchanged).capitalize()} {verb} the outputs of the network, because such a "
            "map lowers the CCC of validation speakers that it was not fitted on; values outside "
            "of the scale are clamped to its ends."
        )
    return " ".join(sentences)


@dataclasses.dataclass(frozen=True)
class GroupTable:
    """The results of the groups of one column, and the gap between them as a sentence."""

    title: str
    rows: list[tuple[str, Slice]]
    gap: str


def slices(report: Report) -> list[GroupTable]:
    """Make a table for each column; speakers are sorted from the lowest to the highest score."""

    def by_score(row: tuple[str, Slice]) -> tuple[bool, float]:
        score = getattr(row[1], report.main)
        return score is None, score or 0.0

    tables = []
    for column, groups in report.slices.items():
        rows = list(groups.items())
        if column == "speaker":
            rows.sort(key=by_score)
        tables.append(GroupTable(column.replace("_", " "), rows, _gap(report, column)))
    return tables


def _gap(report: Report, column: str) -> str:
    gap = (report.gaps or {}).get(column)
    if gap is None:
        return "Too few clips or speakers to compare groups."
    if not gap.gap:
        return "No difference between the groups."
    groups = report.slices[column]
    lowest = figure(getattr(groups[gap.worst], report.main))
    highest = figure(getattr(groups[gap.best], report.main))
    interval = f" ({confidence(report)} interval {span(gap.interval)})" if gap.interval else ""
    return (
        f"Lowest: {gap.worst} with {NAMES[report.main]} {lowest}; highest: {gap.best} with "
        f"{highest}; a gap of {figure(gap.gap)}{interval}."
    )


def confidence_and_accuracy(report: Report) -> tuple[float, float]:
    """The mean probability of the predictions, and the share of correct predictions."""
    clips = 0.0
    confidence_sum = 0.0
    correct = 0.0
    for probability_bin in report.calibration.bins:
        if probability_bin.clips:
            clips += probability_bin.clips
            confidence_sum += probability_bin.clips * probability_bin.confidence
            correct += probability_bin.clips * probability_bin.accuracy
    return confidence_sum / clips, correct / clips


def cost(report: Report) -> dict[str, str]:
    """Parameters, times and machine: {name: text}."""
    model = report.model
    seconds = report.seconds
    machine = report.environment
    training = report.training
    values = {
        "Parameters": model.parameters and f"{model.parameters:,}",
        "Trainable parameters": model.learning and f"{model.learning:,}",
        "Audio preparation": duration(seconds.preparation),
        "Training": duration(seconds.training),
        "Time per epoch": duration(seconds.per_epoch),
        "Evaluation": duration(seconds.judgement),
        "Precision": training.precision and f"training in {training.precision}, evaluation in fp32",
        "Batch size per step": training.clips_per_step and f"{training.clips_per_step:,}",
        "Strategy": training.strategy,
        "Machine": machine.accelerator or machine.processor,
        "Cores": machine.cores and f"{machine.cores}",
        "Threads": machine.threads and f"{machine.threads}",
        "Processes": str(machine.processes) if machine.processes > 1 else None,
    }
    return {name: value for name, value in values.items() if value}


def result_sentence(report: Report) -> str:
    """The result in one sentence, which a paper can quote."""
    protocol = report.protocol
    main = report.main
    metrics = [f"{NAMES[key]} {figure(report.metrics[key])}" for key in report.measured.beside]
    result = f"{report.name}: {NAMES[main]} {figure(report.metrics[main])}"
    words = headline(report)
    if words:
        result += f" ({'; '.join(words)})"
    split = f"protocol {protocol.name or 'unnamed'}"
    if protocol.leak:
        split += ", leaky"
    if protocol.sha256:
        split += f", split {protocol.sha256[:16]}"
    outputs = "classes"
    if not report.measured.one_label:
        outputs = f"{report.measured.outputs} ({', '.join(report.labels)})"
    return (
        f"{', '.join([result, *metrics])}; {len(report.labels)} {outputs}; {split}, "
        f"{report.evaluated_split} clips."
    )


def bibtex(environment: Environment) -> str:
    """The BibTeX entry of the toolkit, with the version and the revision of an environment."""
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
