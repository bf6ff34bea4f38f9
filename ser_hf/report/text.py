"""Facts of a report as sentences: splits, speakers, overlap, warnings, headline, calibration."""

from collections.abc import Sequence

from ..evaluation.metrics import NAMES
from .report import Report
from .sections import Split

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
