"""Pairs of runs: the difference between those that answered the same clips, and why the others cannot be paired."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.intervals import FEW_SPEAKERS
from ..evaluation.paired import compare_answers, holm, mcnemar
from .saved_runs import Answers


def groups_of(answers: Mapping[str, Answers | None]) -> list[list[str]]:
    """Names of the runs that answered the same clips, under the same labels and classes, together; those without
    answers are in none."""
    groups: dict[tuple, list[str]] = {}
    for name, own in answers.items():
        if own is not None:
            groups.setdefault((*own.classes, *own.clips, own.labels.tobytes()), []).append(name)
    return list(groups.values())


def pairs_of(
    answers: Mapping[str, Answers | None], metric: str, resamples: int, confidence: float, seed: int
) -> list[dict[str, Any]]:
    """Every two runs that answered the same clips, the better one by `metric` as `a`.

    {a, b, clips, speakers, metrics, p_holm, verdict, mcnemar, notes}: `metrics` is what `paired_comparison` gives,
    `p_holm` the p of `metric` corrected for all pairs (Holm), `mcnemar` a list of {seed, only_a, only_b, test, p,
    p_holm}, corrected for all such tests. With one training on each side there is one, its seed None; otherwise one of
    each seed that both have, and none where they share none: pooled over seeds a clip would count as many, and the
    seeds' majority is a classifier that nobody trained.
    """
    pairs = []
    for names in groups_of(answers):
        group = {name: answers[name] for name in names}
        first = group[names[0]]
        compared = {}
        if len(names) > 1:
            predictions = {name: own.predictions for name, own in group.items()}
            settings = (len(first.classes), first.speakers, resamples, confidence, seed)
            compared = compare_answers(first.labels, predictions, *settings)
        for (a, b), metrics in compared.items():
            pairs.append(_pair(a, b, group[a], group[b], metrics, metric))
    _correct(pairs, metric, 1 - confidence)
    return pairs


def _pair(a: str, b: str, own: Answers, other: Answers, metrics: dict[str, Any], metric: str) -> dict[str, Any]:
    if metrics[metric]["difference"] < 0:
        a, b, own, other = b, a, other, own
        metrics = {name: _turned(values) for name, values in metrics.items()}
    return {
        "a": a,
        "b": b,
        "clips": len(own.clips),
        "speakers": None if own.speakers is None else len(set(own.speakers)),
        "metrics": metrics,
        "mcnemar": [
            {"seed": seed} | mcnemar(own.labels, own.predictions[i], other.predictions[j])
            for seed, i, j in _equal_seeds(own, other)
        ],
        "notes": _notes(own, other),
    }


def _turned(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same comparison, b less a."""
    ends = {name: [-values[name][1], -values[name][0]] for name in ("interval", "clip_interval")}
    return {"a": values["b"], "b": values["a"], "difference": -values["difference"], **ends, "p": values["p"]}


def _equal_seeds(own: Answers, other: Answers) -> list[tuple[int | None, int, int]]:
    """(seed, its place on this side, on the other)."""
    if len(own.predictions) == len(other.predictions) == 1:
        return [(None, 0, 0)]
    here, there = own.seeds or [], other.seeds or []
    return [(seed, here.index(seed), there.index(seed)) for seed in here if seed in there]


def _notes(own: Answers, other: Answers) -> list[str]:
    runs = len(own.predictions), len(other.predictions)
    notes = []
    if min(runs) == 1:
        notes.append("one training on each side" if max(runs) == 1 else "one training on one side")
    if own.speakers is None:
        notes.append("speakers unknown: clips alone are drawn")
    elif len(set(own.speakers)) < FEW_SPEAKERS:
        notes.append(f"{len(set(own.speakers))} speakers")
    return notes


def _correct(pairs: Sequence[dict[str, Any]], metric: str, level: float) -> None:
    for pair, p in zip(pairs, holm([pair["metrics"][metric]["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = p
        pair["verdict"] = "a is better" if p < level else "no difference shown"
    tests = [test for pair in pairs for test in pair["mcnemar"]]
    for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["p_holm"] = p


def unpaired(rows: Sequence[Mapping[str, Any]], answers: Mapping[str, Answers | None]) -> list[dict[str, Any]]:
    """{runs, others, why}: which runs are not paired with which others (or with any, where `others` is empty)."""
    of = {row["name"]: row for row in rows}
    without = [name for name, own in answers.items() if own is None]
    found = []
    if without:
        why = "the answers to the clips are not at hand, as report/predictions.parquet of the run's folder has them"
        found.append({"runs": without, "others": [], "why": why})
    for some, others in itertools.combinations(groups_of(answers), 2):
        why = _difference(answers[some[0]], answers[others[0]], of[some[0]], of[others[0]])
        found.append({"runs": some, "others": others, "why": why})
    return found


def _difference(own: Answers, other: Answers, row: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    reasons = []
    one_sided = set(own.classes) ^ set(other.classes)
    if one_sided:
        single = [name for name in dict.fromkeys(row["labels"] + there["labels"]) if name in one_sided]
        reasons.append(f"other classes ({', '.join(single)} on one side only)")
    common = set(own.clips) & set(other.clips)
    if len(common) < max(len(own.clips), len(other.clips)):
        count = f"{len(own.clips)} {row['part']} and {len(other.clips)} {there['part']} clips, {len(common)} in common"
        reasons.append(f"other clips ({count}; protocols {fingerprint(row)} and {fingerprint(there)})")
    if common and not reasons:
        labels, theirs = (dict(zip(one.clips, one.labels.tolist(), strict=True)) for one in (own, other))
        reasons.append(f"other labels of {sum(labels[clip] != theirs[clip] for clip in common)} of the same clips")
    return "; ".join(reasons)


def fingerprint(row: Mapping[str, Any]) -> str:
    return f"{row['protocol']['name']} {row['protocol']['sha256'][:8]}"
