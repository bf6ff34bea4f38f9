"""A report's facts as sentences: what was judged by whom, what the parts share, and what is to be minded."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.metrics import NAMES

# How a part's speakers took part.
_DID = {"train": "taught the network", "validation": "chose the checkpoint", "test": "judged it, once"}
# Of each kind that an audit counts: one of them, and what it means that some stand in two parts.
_KINDS = {
    "speakers": ("speaker", "error", "a voice that was learnt from is heard again"),
    "sessions": ("session", "note", "the same room, day and partners are heard again"),
    "sentences": ("sentence", "note", "the words are known, which a fixed list of sentences cannot avoid"),
    "recordings": ("recording", "error", "the same samples are heard again"),
    "near_duplicates": ("near duplicate", "error", "the same take, cut, re-encoded or re-levelled, is heard again"),
}


def counted(number: int, word: str) -> str:
    """ "1 clip", "1,440 clips"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def banners(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(level, what it is, sentence) of all that a reader must not miss: a leaky protocol first."""
    protocol, found = report["protocol"], []
    if protocol.get("leak"):
        found.append(("error", f"Leaky protocol ({protocol.get('name', 'unnamed')}).", protocol["leak"]))
    if report["judged_on"] != "test":
        told = "The same clips picked the checkpoint, so these figures are too good. The test part was left untouched."
        found.append(("warning", f"Judged on the {report['judged_on']} part.", told))
    for warning in report.get("warnings", ()):
        # One that leaves nothing of the figures.
        void = report.get("model", {}).get("untrained") and "was never trained" in warning
        found.append(("error", "Random answers.", warning) if void else ("warning", "Mind:", warning))
    return found


def people(report: Mapping[str, Any]) -> list[str]:
    """Who taught, chose and judged, a sentence each; over folds in one for all of them."""
    protocol, judged_on = report["protocol"], report["judged_on"]
    parts, folds = protocol.get("parts", {}), protocol.get("folds")
    if folds:
        return _people_of_folds(report, folds)
    sentences, earlier = [], []
    for part in ("train", "validation", "test"):
        if part not in parts:
            continue
        own = parts[part]
        did = _DID[part] if part != "test" or judged_on == "test" else "were left untouched"
        if part == "validation" and report.get("selected_by"):
            did += f", by {_metric(report['selected_by'])}"
        sentences.append(f"{_speakers(own, report, part, earlier)} ({counted(own['clips'], 'clip')}) {did}.")
        earlier.append(part)
    return sentences


def _speakers(own: Mapping[str, Any], report: Mapping[str, Any], part: str, earlier: Sequence[str]) -> str:
    number = len(own["speakers"])
    known = [report["audit"].get("shared", {}).get(f"{other}/{part}", {}).get("speakers") for other in earlier]
    known = max((count for count in known if count), default=0)
    if not earlier:
        return counted(number, "speaker")
    if known == number:
        return "The same speaker" if number == 1 else f"The same {number:,} speakers"
    if known:
        return f"{counted(number, 'speaker')}, {known:,} of them heard before,"
    return "1 other speaker" if number == 1 else f"{number:,} other speakers"


def _people_of_folds(report: Mapping[str, Any], folds: Mapping[str, Any]) -> list[str]:
    judged_on = report["judged_on"]
    own = report["protocol"].get("parts", {}).get(judged_on, {"clips": 0, "speakers": []})
    whole = f"{counted(len(own['speakers']), 'speaker')} ({counted(own['clips'], 'clip')})"
    sentences = [
        f"In each of {len(folds)} folds a network of its own learnt from some speakers, others chose its checkpoint"
        f"{', by ' + _metric(report['selected_by']) if report.get('selected_by') else ''}, and "
        + (
            "others judged it."
            if judged_on == "test"
            else "those who would judge it were left untouched: it was judged by those who chose."
        ),
        f"All folds together were judged by {whole}.",
    ]
    if report["protocol"].get("leak"):
        sentences[0] = f"In each of {len(folds)} folds a network of its own learnt, was chosen and was judged."
    return sentences


def _metric(name: str) -> str:
    return NAMES.get(name, name)


def shared(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(level, sentence) of each kind that the audit counts: ok, note, error or unknown."""
    audit = report["audit"]
    pairs = audit.get("shared", {})
    found = []
    for kind in dict.fromkeys(kind for counts in pairs.values() for kind in counts):
        one, level, meaning = _KINDS.get(kind, (kind.removesuffix("s"), "note", "they are not kept apart"))
        counts = {pair: own.get(kind) for pair, own in pairs.items()}
        several = {pair: count for pair, count in counts.items() if count}
        if several:
            told = listed([f"{count:,} in {pair.replace('/', ' and ')}" for pair, count in several.items()])
            if len(several) == len(counts) > 1 and len(set(counts.values())) == 1:
                told = f"{counts[next(iter(counts))]:,} in each pair of them"
            found.append((level, f"{one.capitalize()}s in two parts: {told}: {meaning}."))
        elif all(count is None for count in counts.values()):
            unknown = f"Whether a {one} stands in two parts is not known."
            found.append(("unknown", "Near duplicates were not looked for." if kind == "near_duplicates" else unknown))
        elif None in counts.values():
            unknown = listed([pair.replace("/", " and ") for pair, count in counts.items() if count is None])
            found.append(("unknown", f"No {one} is known to stand in two parts; of {unknown} nobody can tell."))
        else:
            found.append(("ok", f"No {one} stands in two parts."))
    if "duplicates" in audit:
        number = audit["duplicates"]
        told = "repeats another clip's samples" if number == 1 else "repeat another clip's samples"
        if number:
            found.append(("note", f"{counted(number, 'clip')} {told} within a part."))
    return found


def headline(report: Mapping[str, Any]) -> list[str]:
    """What stands under the large figure: interval, runs, chance."""
    told = []
    interval = report.get("intervals", {}).get("uar")
    if interval:
        low, high = interval
        told.append(f"{100 * report.get('confidence', 0.95):g} % interval {low:.3f} to {high:.3f}")
    runs = report["protocol"].get("folds"), report.get("seeds")
    for several, word in zip(runs, ("folds", "seeds"), strict=True):
        if several:
            spread = report.get("deviations", {}).get("uar")
            told.append(
                f"mean of {len(several)} {word}" + (f", standard deviation {spread:.3f}" if spread is not None else "")
            )
    chance = chance_of(report)
    if chance:
        told.append(f"chance {chance:.3f}")
    return told


def chance_of(report: Mapping[str, Any]) -> float | None:
    """UAR of guessing: 1 over the classes that were judged."""
    classes = sum(1 for row in report.get("per_class", {}).values() if row["support"])
    return 1 / classes if classes else None


def temperature(report: Mapping[str, Any]) -> str | None:
    """What a temperature does to the probabilities, where one was fitted."""
    if report.get("temperatures"):
        each = listed([f"{value:.3g}" for value in report["temperatures"].values()])
        return f"The validation parts of the {len(report['temperatures'])} runs asked for temperatures of {each}."
    own = report.get("temperature")
    if not own:
        return None
    value, names = f"{own['value']:.3g}", {"log_loss": "log loss", "ece": "ECE", "brier": "Brier score"}
    figures = listed(
        [f"{name} from {own['before'][key]:.3f} to {own['after'][key]:.3f}" for key, name in names.items()]
    )
    if own.get("stored"):
        begin = f"The validation part said to divide all logits by {value}, and the published weights do so."
    else:
        begin = f"The validation part would divide all logits by {value}; the published weights do not."
    moved = "took" if own.get("stored") else "would take"
    stay = "Answers stay as they are, but of clips that are heard in windows."
    return f"{begin} On the {report['judged_on']} part that {moved} {figures}. {stay}"
