"""Draws turns of a recording as HTML: the waveform, a lane for each speaker, and a table."""

import html
from collections.abc import Mapping, Sequence

import numpy as np
from turns import Turn

UNKNOWN = "unknown"
UNKNOWN_COLOR = "#dddddd"
NOT_KNOWN = "speech"  # the name of the lane of turns without a speaker
_WIDTH = 1000  # of a picture, in its own units
_LEAST_WIDTH = 2  # shorter turns would not be visible
_MOST_ROWS = 2000  # of the list of turns


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours, minutes and seconds from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def counted(number: int, kind: str) -> str:
    """A number of turns or windows, such as "1 turn of speech" for the kind "turns of speech"."""
    noun, space, rest = kind.partition(" ")
    if number == 1:
        noun = noun.removesuffix("s")
    return f"{number:,} {noun}{space}{rest}"


def waveform(samples: np.ndarray) -> str:
    """The lowest and the highest sample of many intervals, as a row of a picture."""
    count = min(_WIDTH, len(samples))
    starts = np.arange(count) * len(samples) // count
    high = np.maximum.reduceat(samples, starts)
    low = np.minimum.reduceat(samples, starts)
    loudest = max(float(np.abs(samples).max()), 1e-3)
    step = _WIDTH / count
    upper = [f"{i * step:.1f} {1 - value / loudest:.3f}" for i, value in enumerate(high)]
    lower = [f"{i * step:.1f} {1 - value / loudest:.3f}" for i, value in enumerate(low)]
    path = f"M{'L'.join(upper + lower[::-1])}Z"
    picture = f'<path d="{path}" fill="currentColor"/>'
    return _row("waveform", picture, height=2, description="The waveform")


def lanes(
    turns: Sequence[Turn],
    labels: Sequence[str],
    colors: Mapping[str, str],
    seconds: float,
) -> str:
    """A row for each speaker, whose turns have the colors of their labels; and a legend.

    Args:
        labels: the predicted label of each turn.
        colors: a color for each label.
        seconds: the length of the recording.
    """
    rows = []
    for speaker in dict.fromkeys(turn.speaker for turn in turns):
        bars = []
        for turn, label in zip(turns, labels, strict=True):
            if turn.speaker != speaker:
                continue
            left = _WIDTH * turn.start / seconds
            width = max(_WIDTH * (turn.end - turn.start) / seconds, _LEAST_WIDTH)
            title = f"{clock(turn.start)}-{clock(turn.end)} {label}"
            bars.append(
                f'<rect x="{left:.1f}" width="{width:.1f}" height="1" '
                f'fill="{colors.get(label, UNKNOWN_COLOR)}"><title>{html.escape(title)}</title>'
                "</rect>"
            )
        name = speaker or NOT_KNOWN
        rows.append(_row(name, "".join(bars), height=1, description=counted(len(bars), "turns")))
    return "".join(rows)


def legend(labels: Sequence[str], names: Sequence[str], colors: Mapping[str, str]) -> str:
    """The colors of the labels that are predicted, in the order of `names`."""
    shown = [name for name in (*names, UNKNOWN) if name in labels]
    entries = [
        f'<span><i style="background: {colors.get(name, UNKNOWN_COLOR)}"></i>'
        f"{html.escape(name)}</span>"
        for name in shown
    ]
    return f'<div class="legend">{"".join(entries)}</div>'


def _row(name: str, picture: str, height: int, description: str) -> str:
    label = f'<span class="label">{html.escape(name)}</span>'
    return (
        f'<li class="lane">{label}<svg viewBox="0 0 {_WIDTH} {height}" preserveAspectRatio="none" '
        f'role="img" aria-label="{html.escape(description)}">{picture}</svg></li>'
    )


def seconds_table(turns: Sequence[Turn], labels: Sequence[str], names: Sequence[str]) -> str:
    """A table with the seconds of each label by speaker."""
    seconds: dict[str, dict[str, float]] = {}
    for turn, label in zip(turns, labels, strict=True):
        of_speaker = seconds.setdefault(turn.speaker or NOT_KNOWN, {})
        of_speaker[label] = of_speaker.get(label, 0.0) + turn.end - turn.start
    shown = [name for name in (*names, UNKNOWN) if name in labels]
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in (*shown, "all"))
    rows = []
    for speaker, of_speaker in seconds.items():
        values = [of_speaker.get(name, 0.0) for name in shown]
        cells = "".join(f"<td>{value:.1f}</td>" for value in (*values, sum(values)))
        rows.append(f"<tr><th>{html.escape(speaker)}</th>{cells}</tr>")
    return (
        '<div class="table" tabindex="0"><table><caption>Seconds of each label by speaker'
        f"</caption><tr><th>speaker</th>{heads}</tr>{''.join(rows)}</table></div>"
    )


def turn_list(turns: Sequence[Turn], labels: Sequence[str], values: Sequence[str]) -> str:
    """A table of all turns that can be opened: times, speaker, label and value."""
    rows = []
    for turn, label, value in zip(turns[:_MOST_ROWS], labels, values, strict=False):
        cells = (clock(turn.start), clock(turn.end), turn.speaker or NOT_KNOWN, label, value)
        rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    heads = "".join(f"<th>{word}</th>" for word in ("from", "to", "speaker", "label", "value"))
    first = f" (the first {_MOST_ROWS:,})" if len(turns) > _MOST_ROWS else ""
    return (
        f"<details><summary>{counted(len(turns), 'turns')}{first}</summary>"
        f'<div class="table" tabindex="0"><table><tr>{heads}</tr>{"".join(rows)}</table></div>'
        "</details>"
    )
