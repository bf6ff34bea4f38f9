"""Findings about the clips' signals, formats and distribution, and what a model could learn in place of the voice."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from .finding import Finding, count, listed, percent, tally, usual
from .measure import SILENT_PEAK
from .tables import Row, by_group, crosstable, explained, ordered_labels

# From these on a fact is worth a line. Shares and full-scale fractions, seconds, decibels.
_DC_OFFSET = 0.01
_LONG_SILENCE = 1.0
_MIX_LOSS = 6.0
_SHORT = 0.3
_LONG = 30.0
_CLIPPED_FILES = 0.01
_IMBALANCE = 1.5
_FEW_SPEAKERS = 10
_EXPLAINED = 0.2
_SPEAKER_SPREAD = 10.0
# Fewer clips than this for a label, on average, and what it explains is mostly chance.
_CLIPS_PER_LABEL = 10
# What belongs to the recording rather than to the voice, so that a label should not be told from it.
_RECORDING_MEASURES = {
    "floor": "the level of the quietest tenth of a clip",
    "dc_offset": "the DC offset",
    "leading_silence": "the silence before the speech",
    "trailing_silence": "the silence after the speech",
}


def signals(clips: Sequence[Row]) -> Iterator[Finding]:
    """Silence, clipping, DC offset and lengths of the usable clips."""
    silent = [row for row in clips if row.measured.silent]
    if silent:
        level = 20 * np.log10(SILENT_PEAK)
        text = f"{count(len(silent), 'clip')} silent from end to end (no sample reaches {level:.0f} dBFS)."
        yield Finding("silent", "warning", text, "Leave out with corpus.exclude.", listed(silent, _label))
    clipped = [row for row in clips if row.measured.clipped_share > 0]
    if clipped:
        worst = max(row.measured.clipped_share for row in clipped)
        yield Finding(
            "clipped",
            "warning" if len(clipped) > _CLIPPED_FILES * len(clips) else "note",
            f"{count(len(clipped), 'clip')} of {len(clips)} clipped: runs of 3 or more samples at full scale, at "
            f"most {percent(worst, 2)} of a clip.",
            "Cannot be undone; compare the labels and speakers concerned before trusting loudness as a cue.",
            listed(sorted(clipped, key=lambda row: -row.measured.clipped_share), _clipping),
        )
    offset = [row for row in clips if abs(row.measured.dc_offset) > _DC_OFFSET]
    if offset:
        text = f"{count(len(offset), 'clip')} with a DC offset above {percent(_DC_OFFSET)} of full scale."
        advice = "Harmless for normalised input; for log-mel features remove the mean or high-pass the audio."
        yield Finding(
            "dc-offset", "note", text, advice, listed(offset, lambda r: f"{100 * r.measured.dc_offset:+.1f} %")
        )
    for code, name, where in (
        ("silence-before", "leading_silence", "before the speech"),
        ("silence-after", "trailing_silence", "after the speech"),
    ):
        lengths = {id(row): getattr(row.measured, name) for row in clips if not row.measured.silent}
        padded = [row for row in clips if lengths.get(id(row), 0.0) > _LONG_SILENCE]
        if padded:
            text = f"{count(len(padded), 'clip')} with more than {_LONG_SILENCE:g} s of silence {where}."
            advice = "Pooling over time sees that silence too; trimming it is a choice to name beside results."
            yield Finding(code, "note", text, advice, listed(padded, lambda row, name=name: _seconds(row, name)))
    for code, members, text in (
        ("short", [row for row in clips if row.measured.duration < _SHORT], f"shorter than {_SHORT:g} s"),
        ("long", [row for row in clips if row.measured.duration > _LONG], f"longer than {_LONG:g} s"),
    ):
        if members:
            advice = "Listen to them; audio.max_duration bounds what a batch holds." if code == "long" else "Listen."
            text = f"{count(len(members), 'clip')} {text}."
            yield Finding(code, "note", text, advice, listed(members, lambda row: _seconds(row, "duration")))


def formats(clips: Sequence[Row], rows: Sequence[Row]) -> Iterator[Finding]:
    """Rates, channels and codings that differ among the usable clips; of all files, suffixes that lie."""
    rates = Counter(row.measured.sampling_rate for row in clips)
    if len(rates) > 1:
        most = usual(rates)
        odd = [row for row in clips if row.measured.sampling_rate != most]
        yield Finding(
            "sampling-rates",
            "warning",
            f"{count(len(odd), 'clip')} not sampled at the {most} Hz of the other {rates[most]} "
            f"({tally(rates, ' Hz')}).",
            "All is resampled to one rate, but the bandwidth stays: check that no label or speaker has its own rate.",
            listed(odd, lambda row: f"{row.measured.sampling_rate} Hz"),
        )
    several = [row for row in clips if row.measured.channels > 1]
    if several:
        worst = max(row.measured.mix_loss or 0.0 for row in several)
        text = f"{count(len(several), 'clip')} with several channels; they are mixed to mono by the mean"
        if worst > _MIX_LOSS:
            text += f", which cancels up to {worst:.1f} dB of the channels' power"
            advice = "Channels out of phase: listen, and take one channel in place of the mix."
        else:
            advice = "Nothing to do; name it beside results."
        level = "warning" if worst > _MIX_LOSS else "note"
        members = listed(several, lambda row: f"{row.measured.channels} channels")
        yield Finding("channels", level, text + ".", advice, members)
    codings = Counter(map(_coding, clips))
    if len(codings) > 1:
        odd = [row for row in clips if _coding(row) != usual(codings)]
        text = f"{count(len(odd), 'clip')} coded otherwise than most ({tally(codings)})."
        advice = "Lossy or coarse coding of a part of the clips can give away a label or a speaker."
        yield Finding("codings", "note", text, advice, listed(odd, _coding))
    lying = [row for row in rows if row.measured is not None and row.measured.honest_suffix is False]
    if lying:
        text = f"{count(len(lying), 'file')} whose suffix does not belong to the format inside."
        advice = "They are read by their content; rename them before other tools trip over them."
        members = listed(lying, lambda row: f"is {row.measured.format}")
        yield Finding("lying-suffix", "warning", text, advice, members)


def balance(clips: Sequence[Row]) -> Iterator[Finding]:
    """How the clips are spread over labels, speakers and sexes."""
    if not clips:
        return
    every = [row.clip for row in clips]
    labels = ordered_labels(every)
    counts = Counter(clip.emotion for clip in every)
    largest, smallest = max(counts.values()), min(counts.values())
    if len(labels) < 2:
        yield Finding("one-label", "error", f"Every clip is {labels[0]}.", "A classifier needs two classes at least.")
    elif largest > _IMBALANCE * smallest:
        yield Finding(
            "imbalance",
            "note",
            f"The largest class ({max(labels, key=counts.get)}, {largest} clips) has {largest / smallest:.1f} times "
            f"the clips of the smallest ({min(labels, key=counts.get)}, {smallest}).",
            "Report UAR, which counts each class alike; training.loss.class_weights: balanced is worth a try.",
        )
    speakers = crosstable(every, lambda clip: clip.speaker)["rows"]
    if len(speakers) < _FEW_SPEAKERS:
        yield Finding(
            "few-speakers",
            "note",
            f"{count(len(speakers), 'speaker')}: a speaker-independent test rests on very few voices.",
            "Expect wide intervals; cross-validate over the speakers.",
        )
    lacking = {
        speaker: [label for label, clips_of_it in zip(labels, row, strict=True) if clips_of_it == 0]
        for speaker, row in speakers.items()
    }
    lacking = {speaker: missing for speaker, missing in lacking.items() if missing}
    if lacking:
        first = next(iter(lacking))
        yield Finding(
            "empty-cells",
            "note",
            f"{len(lacking)} of {count(len(speakers), 'speaker')} without clips of some label (such as {first}: "
            f"{', '.join(lacking[first])}).",
            "Who speaks then hints at the label; look at the table of labels by speaker.",
        )
    sexes = crosstable(every, lambda clip: clip.sex)
    if sexes is not None and len(sexes["rows"]) > 1:
        total = np.array(sexes["total"])
        for sex, row in sexes["rows"].items():
            alone = [label for label, a, b in zip(labels, row, total, strict=True) if a == b]
            if alone and sex != "not stated":
                text = f"Only {sex} speakers have clips of: {', '.join(alone)}."
                yield Finding("one-sex", "warning", text, "Sex then predicts the label; judge by sex as well.")


def leaks(clips: Sequence[Row]) -> Iterator[Finding]:
    """What gives the label or the speaker away by the recording alone."""
    enough = len(clips) >= _CLIPS_PER_LABEL * len({row.clip.emotion for row in clips})
    for measure, words in _RECORDING_MEASURES.items() if enough else ():
        share = explained(clips, measure, lambda clip: clip.emotion)
        if share is not None and share >= _EXPLAINED:
            yield Finding(
                f"label-leak-{measure.replace('_', '-')}",
                "note",
                f"The label explains {percent(share)} of the variance of {words}.",
                "A model may learn the recording in place of the voice; try a control that hears only that.",
            )
    groups = by_group(clips, "loudness", lambda clip: clip.speaker)
    medians = {speaker: float(np.median(values)) for speaker, values in groups.items()}
    if len(medians) > 1:
        low, high = min(medians, key=medians.get), max(medians, key=medians.get)
        spread = medians[high] - medians[low]
        if spread >= _SPEAKER_SPREAD:
            yield Finding(
                "speaker-loudness",
                "note",
                f"The median loudness of the speakers spans {spread:.1f} LU, from {medians[low]:.1f} ({low}) to "
                f"{medians[high]:.1f} LUFS ({high}).",
                "Level then tells speakers apart; normalising each clip removes that and loudness as a cue.",
            )


def _label(row: Row) -> str:
    return row.clip.emotion


def _coding(row: Row) -> str:
    return f"{row.measured.format} {row.measured.subtype}"


def _clipping(row: Row) -> str:
    return f"{percent(row.measured.clipped_share, 3)} of its samples"


def _seconds(row: Row, measure: str) -> str:
    return f"{getattr(row.measured, measure):.2f} s"
