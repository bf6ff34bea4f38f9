"""Robustness: figures by hand, independent of the order and the chunks of clips, and the figure."""

import dataclasses
import json

import numpy as np
import pytest
from support.intervals import bootstrap_intervals
from support.predictions import predictions_of

from ser_hf.evaluation import robustness as module
from ser_hf.evaluation.conditions import CONDITIONS, Condition
from ser_hf.evaluation.robustness import robustness

RATE = 8000


def corpus(clips=24, speakers=4):
    """Waveforms, ids, labels, speakers: even clips are loud, the others soft."""
    rng = np.random.default_rng(0)
    levels = [0.5 if i % 2 == 0 else 0.02 for i in range(clips)]
    waveforms = [
        level * rng.standard_normal(600 + 10 * i, dtype=np.float32)
        for i, level in enumerate(levels)
    ]
    labels = [i % 2 for i in range(clips)]
    return (
        waveforms,
        [f"clip-{i}" for i in range(clips)],
        labels,
        [f"s{i // 2 % speakers}" for i in range(clips)],
    )


def by_level(waveforms):
    """Probabilities of a classifier that calls clips above -20 dB loud."""
    loud = np.array([np.square(waveform).mean() > 0.01 for waveform in waveforms], dtype=np.float32)
    return np.stack([loud, 1 - loud], axis=1)


def scripted(*predictions):
    """A classifier that returns the given predictions for any clips."""
    each = iter(np.concatenate(predictions).tolist())
    return lambda chunk: np.eye(2)[[next(each) for _ in chunk]]


def measured(*, classify=by_level, clips=None, clean=None, conditions, **settings):
    """The clean clips are not classified: their predictions are `clean`, by default right."""
    waveforms, ids, labels, speakers = clips or corpus()
    settings = {"rate": RATE, "bootstrap": 200} | settings
    predictions = predictions_of(
        labels, labels if clean is None else clean, max(labels) + 1, speakers
    )
    predictions = dataclasses.replace(predictions, ids=list(ids))
    return robustness(classify, waveforms, predictions, conditions=conditions, **settings)


def test_drops_by_hand():
    conditions = [
        Condition("gain", -20),
        Condition("gain", 30),
        Condition("gain", 0),
        Condition("duration", 0.1),
    ]
    found = measured(conditions=conditions)
    assert (found.clips, found.chance) == (24, 0.5)
    assert found.clean.to_dict() == {"uar": 1, "wa": 1, "macro_f1": 1, "interval": [1, 1]}
    softer, louder, same, shorter = found.conditions
    # All called soft: a recall of 1 and one of 0; F1 is 2/3 and 0.
    for one in (softer, louder):
        assert (one.uar, one.wa, one.drop) == (0.5, 0.5, 0.5)
        assert one.macro_f1 == pytest.approx(1 / 3)
        assert one.interval == one.drop_interval == [0.5, 0.5]
        assert one.changed == 24
    assert (same.uar, same.drop, same.changed, same.drop_interval) == (1, 0, 0, [0, 0])
    assert shorter.changed == 3, "three clips are longer than 0.1 s"
    assert [one.name for one in found.conditions[:2]] == ["gain, -20 dB", "gain, 30 dB"]
    assert found.settings.of_clips == 24
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False)) == found.to_dict()


def test_intervals_are_those_of_reports_and_drops_are_paired():
    clips = corpus(clips=80, speakers=10)
    labels = np.array(clips[2])
    speakers = clips[3]
    rng = np.random.default_rng(1)
    clean = np.where(rng.random(80) < 0.3, 1 - labels, labels)
    worse = np.where(rng.random(80) < 0.05, 1 - labels, clean)
    other = rng.permutation(clean)
    conditions = [Condition("gain", 1), Condition("gain", 2), Condition("gain", 3)]
    classify = scripted(clean, worse, other)
    found = measured(classify=classify, clips=clips, clean=clean, conditions=conditions)
    for one, predictions in zip(
        [found.clean, *found.conditions], (clean, clean, worse, other), strict=True
    ):
        assert one.interval == bootstrap_intervals(labels, predictions, 2, speakers, 200)["uar"]
    same, worse, other = found.conditions
    assert same.drop_interval == [0, 0], (
        "however uncertain the figures, their difference is certain"
    )
    widths = [
        high - low for low, high in (worse.drop_interval, worse.interval, other.drop_interval)
    ]
    assert widths[0] < 0.6 * widths[1] < widths[2]
    assert worse.drop_interval[0] <= worse.drop <= worse.drop_interval[1]


def test_a_clip_is_changed_equally_in_any_order_with_one_chunk_in_memory(monkeypatch):
    waveforms, ids, labels, speakers = corpus()
    conditions = [one for one in CONDITIONS if one.kind in ("noise", "reverberation", "speed")]
    shuffled = np.random.default_rng(5).permutation(len(ids)).tolist()
    orders = {"whole": range(len(ids)), "chunks": range(len(ids)), "shuffled": shuffled}
    seen = {}
    for name, order in orders.items():
        monkeypatch.setattr(module, "_CHUNK_SAMPLES", 2**24 if name == "whole" else 3000)
        sizes = []
        kept = []

        def classify(chunk, sizes=sizes, kept=kept):
            sizes.append(sum(map(len, chunk)))
            kept.extend(chunk)
            return by_level(chunk)

        clips = [[own[i] for i in order] for own in (waveforms, ids, labels, speakers)]
        measured(classify=classify, clips=clips, conditions=conditions)
        assert len(sizes) == len(conditions) if name == "whole" else max(sizes) < (3000 + 830) / 0.8
        of_condition = [kept[i : i + len(ids)] for i in range(0, len(kept), len(ids))]
        seen[name] = [dict(zip(clips[1], own, strict=True)) for own in of_condition]
    for name in ("chunks", "shuffled"):
        for own, expected in zip(seen[name], seen["whole"], strict=True):
            for clip in ids:
                np.testing.assert_array_equal(own[clip], expected[clip])


def test_the_area_is_the_mean_over_the_curve():
    clips = corpus(clips=4)
    labels = np.array(clips[2])
    wrong = 1 - np.array(clips[2])
    conditions = [Condition("noise", snr) for snr in (20, 10, 0)] + [
        Condition("gain", 10),
        Condition("telephone", 64),
    ]
    classify = scripted(labels, 0 * labels, wrong, 0 * labels, wrong)
    areas = measured(classify=classify, clips=clips, conditions=conditions).areas
    # UAR of 1, 0.5 and 0 at 20, 10 and 0 dB, where no SNR is clean; 1 at 0 dB of gain and 0.5 at 10
    # dB.
    assert {kind: own.uar for kind, own in areas.items()} == {"noise": 0.5, "gain": 0.75}
    assert all(low <= own.uar <= high for own in areas.values() for low, high in [own.interval])
