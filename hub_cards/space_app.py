"""A demo of a speech emotion recognition model.

Record or upload speech, or see predictions while you speak. A long recording is divided into turns:
speech that is found, windows, or those of a file. facts.json beside it describes the model.
Recordings stay in this process: they are sent nowhere else, and their files are deleted.
"""

import html
import itertools
import json
import math
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
import picture
import soundfile
import soxr
import turns
from model import Model
from turns import PageError, Turn

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
FOLDER = Path(__file__).resolve().parent
FACTS = json.loads((FOLDER / "facts.json").read_text(encoding="utf-8"))
CLASSIFIER = Model(FACTS)
EXTRACTOR = CLASSIFIER.extractor
RATE = EXTRACTOR.sampling_rate
FIXED = CLASSIFIER.fixed_duration  # seconds to which each clip is cut or padded
CONFIG = CLASSIFIER.config
# The labels, and then the dimensions that a model of labels and ratings predicts beside them.
OUTPUTS = CLASSIFIER.outputs
LABELS = OUTPUTS[: CONFIG.num_labels]
# it predicts dimensions, and 0 and 1 stand for these ratings
RATED = CONFIG.problem_type == "regression"
RANGES = [(getattr(CONFIG, "target_ranges", None) or {}).get(name, (0, 1)) for name in OUTPUTS]
# Predictions end at the lowest and highest rating, if the model knows them.
BOUNDED = bool(getattr(CONFIG, "target_ranges", None))
# Below this probability a prediction is called unknown; None if the model stores no threshold.
THRESHOLD = getattr(CONFIG, "unknown_threshold", None)

# seconds of a recording
SHORTEST = 0.1
LONGEST = 7200.0
BLOCK = 2**20  # samples of each channel that are read at once
QUIET = 1e-3  # a peak below it (-60 dBFS) is silence
# seconds between two live predictions, and seconds of them that stay visible
EVERY = 1
SHOWN = 120
BATCH = 8
# The shortest and the longest turn of speech in seconds: the lengths of most training clips.
SHORTEST_TURN, LONGEST_TURN = getattr(CONFIG, "clip_seconds", None) or (1.0, 8.0)
LENGTHS = (max(SHORTEST, SHORTEST_TURN), max(LONGEST_TURN, 2 * SHORTEST_TURN, SHORTEST))
SPEECH = "speech that is found"
WINDOWS = "windows"

# Of each output; those that are no emotions get the remaining colors.
EMOTIONS = {label.lower() for label in OUTPUTS}
UNUSED = [color for name, color in FACTS["colors"].items() if name not in EMOTIONS]
FREE = itertools.cycle(UNUSED or FACTS["colors"].values())
COLORS = [FACTS["colors"].get(label.lower()) or next(FREE) for label in OUTPUTS]
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]
CODE_FONTS = ["ui-monospace", "Menlo", "Consolas", "monospace"]
CSS = """
.gradio-container { max-width: min(60rem, 100vw) !important; margin: auto; }
/* The waveform of a long recording scrolls in its own box. */
.gradio-container :is(.fillable, .wrap, .contain, .column, .tabs, .tabitem, .block,
  .audio-container) {
  min-width: 0; max-width: 100%; }
.about h1 { font-size: 1.5rem; font-weight: 600; margin: 0 0 .3rem; overflow-wrap: anywhere; }
.about p, .note p { margin: .3rem 0; line-height: 1.5; overflow-wrap: anywhere; }
.about a { text-decoration: underline; }
.note { border: 1px solid var(--border-color-primary); border-left-width: 4px; border-radius: 4px;
  padding: .3rem .8rem; margin: .6rem 0; font-size: .9rem; }
.note.leak { background: #b42318; border-color: #b42318; font-size: 1rem; }
.note.leak p { color: #fff !important; }
.prediction p { margin: 0 0 .6rem; min-height: 1.8rem; }
.prediction strong { font-size: 1.3rem; }
.prediction ol { list-style: none; margin: 0; padding: 0; }
.prediction li { display: grid; grid-template-columns: minmax(5.5rem, auto) 1fr 3rem; gap: .6rem;
  align-items: center; padding: .15rem 0; }
.prediction .label { overflow-wrap: anywhere; }
.prediction .bar { height: .8rem; background: var(--border-color-primary); border-radius: 2px;
  overflow: hidden; }
.prediction .bar i { display: block; height: 100%; outline-offset: -1px;
  outline: 1px solid color-mix(in srgb, currentColor 40%, transparent); }
.prediction .value { text-align: right; font-variant-numeric: tabular-nums; }
.strips li { grid-template-columns: 5.5rem 1fr; }
.strips svg { width: 100%; height: 1.8rem; border-bottom: 1px solid var(--border-color-primary); }
.strips path { stroke: currentColor; stroke-width: .5px; vector-effect: non-scaling-stroke; }
.strips .lane svg { height: 1.4rem; border: 0; }
.strips .lane:first-child svg { height: 3rem; }
.strips .lane path, .strips .lane rect { stroke: none; }
.strips .legend { display: flex; flex-wrap: wrap; gap: .2rem .9rem; margin: .4rem 0 .4rem 6.1rem;
  font-size: .85rem; }
.strips .legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .3rem;
  vertical-align: -.05rem; outline: 1px solid color-mix(in srgb, currentColor 40%, transparent);
  outline-offset: -1px; }
.prediction .table { overflow-x: auto; margin: .8rem 0; }
.prediction table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.prediction caption { text-align: left; margin-bottom: .3rem; }
.prediction :is(td, th) { padding: .15rem .6rem; text-align: right; white-space: nowrap;
  border: 0 solid var(--border-color-primary) !important; border-bottom-width: 1px !important; }
.prediction :is(td, th):first-child { text-align: left; padding-left: 0; }
.prediction summary { cursor: pointer; }
.strips .times { display: flex; justify-content: space-between; margin-left: 6.1rem;
  font-size: .85rem; }
"""


def read(path: str) -> tuple[np.ndarray, float]:
    """Read the first `LONGEST` seconds of a file, block by block.

    Returns:
        Float32 (samples,) in [-1, 1], mono at `RATE`, and the seconds of the whole file.

    Raises:
        PageError: for a file without usable audio.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            seconds = file.frames / rate
            resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
            parts = []
            frames = 0
            most = math.ceil(LONGEST * rate)
            while frames < most:
                block = file.read(min(BLOCK, most - frames), dtype="float32", always_2d=True)
                if not len(block):
                    break
                frames += len(block)
                mono = np.ascontiguousarray(block.mean(axis=1))
                parts.append(mono if rate == RATE else resampler.resample_chunk(mono))
            if rate != RATE:
                parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    except soundfile.LibsndfileError:
        raise PageError("This file cannot be read as audio; use WAV, FLAC, MP3 or OGG.") from None
    if not frames:
        raise PageError("This recording is empty.")
    samples = np.concatenate(parts)
    if frames < SHORTEST * rate:
        raise PageError(f"This recording is shorter than {SHORTEST} s.")
    if not np.isfinite(samples).all():
        raise PageError("This recording contains samples that are not numbers.")
    if np.abs(samples).max() < QUIET:
        raise PageError("This recording is silent.")
    return samples, seconds


def limits() -> tuple[float, float]:
    """Seconds of windows over time, and of the longest clip that is processed whole.

    As in the model's evaluation, but at most what its extractor takes: Whisper's `chunk_length`, or
    10 ms for each frame of a spectrogram's `max_length`.
    """
    longest = [30.0]
    if FACTS["window"]:
        longest.append(FACTS["window"])
    chunk_length = getattr(EXTRACTOR, "chunk_length", None)
    if chunk_length:
        longest.append(chunk_length)
    frames = getattr(EXTRACTOR, "max_length", None)
    if frames:
        longest.append(frames / 100)
    whole = min(longest)
    return min(FIXED or FACTS["window"] or 4.0, whole), whole


WINDOW, WHOLE = limits()


def sliding(samples: np.ndarray) -> tuple[list[np.ndarray], list[float]]:
    """Windows that overlap by half, the last one at the end of the recording.

    Also returns the borders in seconds between which each is shown: the start, halfway between the
    centers of neighbors, the end.
    """
    length = round(WINDOW * RATE)
    last = max(0, len(samples) - length)
    starts = [*range(0, last, length // 2), last]
    borders = [0.0]
    for start, next_start in zip(starts[:-1], starts[1:], strict=True):
        borders.append((start + next_start + length) / 2)
    borders.append(len(samples))
    windows = [samples[start : start + length] for start in starts]
    return windows, [border / RATE for border in borders]


def of_turns(samples: np.ndarray, cut: list[Turn], progress: gr.Progress) -> list[np.ndarray]:
    """The outputs of turns; those of a turn that is too long are the mean of its windows."""
    clips = []
    for turn in cut:
        first = round(turn.start * RATE)
        clips.append(samples[first : max(round(turn.end * RATE), first + 1)])
    predictions = []
    for clip in progress.tqdm(clips, desc="predicting", unit="turns"):
        pieces = [clip] if len(clip) <= WHOLE * RATE else sliding(clip)[0]
        predictions.append(np.mean(list(CLASSIFIER.predict(pieces, BATCH)), axis=0))
    return predictions


def divided(
    samples: np.ndarray, path: str, turn_file: str | None, division: str, progress: gr.Progress
) -> tuple[list[Turn], str]:
    """The turns of a recording, and what they are; there are none for a division into windows.

    Raises:
        PageError: if the file of turns is wrong.
    """
    seconds = len(samples) / RATE
    if turn_file is not None:
        listed = turns.read_turns(turn_file, path, seconds)
        used = [turn for turn in listed if turn.end - turn.start >= SHORTEST]
        left_out = len(listed) - len(used)
        if not used:
            raise PageError(f"All turns of the file are shorter than {SHORTEST} s.")
        note = f", without {left_out} shorter than {SHORTEST} s" if left_out else ""
        return used, f"turns of the file{note}"
    if division == SPEECH and turns.FINDS_SPEECH:

        def search(share: float) -> None:
            progress(share, desc="finding speech")

        return turns.find_speech(samples, RATE, LENGTHS, search), "turns of speech"
    return [], ""


class Result(NamedTuple):
    """The outputs of a recording.

    Args:
        samples: (samples,) at `RATE`.
        seconds: of the whole recording.
        prediction: the outputs (outputs,) of the recording.
        what: what was predicted, in words.
        cut: the turns or windows of a recording that is longer than a window.
        predictions: the outputs (outputs,) of each of them.
        kind: what they are, in words.
    """

    samples: np.ndarray
    seconds: float
    prediction: np.ndarray
    what: str
    cut: list[Turn]
    predictions: list[np.ndarray]
    kind: str


def outputs_of(path: str, turn_file: str | None, division: str, progress: gr.Progress) -> Result:
    """Predict a recording, and its turns or windows if it is longer than a window.

    Raises:
        PageError: for a file without usable audio, or if the file of turns is wrong.
    """
    samples, seconds = read(path)
    cut: list[Turn] = []
    kind = ""
    if turn_file is not None or len(samples) > WINDOW * RATE:
        cut, kind = divided(samples, path, turn_file, division, progress)
    predictions: list[np.ndarray] = []
    if cut:
        predictions = of_turns(samples, cut, progress)
        weights = [turn.end - turn.start for turn in cut]
    elif len(samples) > WINDOW * RATE:
        windows, borders = sliding(samples)
        bar = progress.tqdm(CLASSIFIER.predict(windows, BATCH), total=len(windows), unit="windows")
        predictions = list(bar)
        weights = [1.0] * len(windows)
        cut = [Turn(*times) for times in zip(borders[:-1], borders[1:], strict=True)]
        kind = f"windows of {WINDOW:g} s"
    if len(samples) <= WHOLE * RATE:
        is_cut = FIXED is not None and seconds > FIXED
        what = f"the first {FIXED:g} s of {seconds:.1f} s" if is_cut else f"all of {seconds:.1f} s"
        prediction = next(CLASSIFIER.predict([samples], 1))
    else:
        prediction = np.average(predictions, axis=0, weights=weights)
        what = f"{seconds:.0f} s, mean of {picture.counted(len(cut), kind)}"
    if seconds > LONGEST:
        what += f" in the first {LONGEST:g} s"
    return Result(samples, seconds, prediction, what, cut, predictions, kind)


def predict(
    path: str | None,
    turn_file: str | None = None,
    division: str = SPEECH,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 (gradio's own way)
) -> tuple[str, str]:
    """Probabilities of a recording, and those over time if it is longer than a window.

    Args:
        turn_file: a file with the turns of the recording.
        division: how a recording without such a file is divided, `SPEECH` or `WINDOWS`.
    """
    if path is None:
        return "", ""
    try:
        result = outputs_of(path, turn_file, division, progress)
    except PageError as error:
        return f'<div class="prediction" role="alert"><p>{html.escape(str(error))}</p></div>', ""
    what = result.what
    if np.isnan(result.prediction).any():
        what = "The predictions of the model are not numbers."
    over_time = ""
    if result.cut:
        over_time = timeline(result.samples, result.cut, result.predictions, result.kind)
    return bars(result.prediction, what), over_time


def classify(
    path: str | None,
    turn_file: str | None = None,
    division: str = SPEECH,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 (gradio's own way)
) -> dict[str, Any]:
    """What `predict` shows, as values for programs: see `values` for those of a prediction.

    Raises:
        gr.Error: without a recording, for one without usable audio, or a wrong file of turns.
    """
    if path is None:
        raise gr.Error("A recording is missing.", print_exception=False)
    try:
        result = outputs_of(path, turn_file, division, progress)
    except PageError as error:
        raise gr.Error(str(error), print_exception=False) from None
    if np.isnan(result.prediction).any():
        raise gr.Error("The predictions of the model are not numbers.", print_exception=False)
    answer = {"seconds": round(result.seconds, 3)} | values(result.prediction)
    if result.cut:
        answer["turns"] = [
            turn._asdict() | values(prediction)
            for turn, prediction in zip(result.cut, result.predictions, strict=True)
        ]
    return answer


def values(prediction: np.ndarray) -> dict[str, Any]:
    """A prediction by name.

    `label` has the label of the highest probability, or unknown below the model's threshold, and
    `probabilities` those of all labels; `ratings` has the dimensions, in their units.
    """
    by_name: dict[str, Any] = {}
    named = dict(zip(OUTPUTS, prediction.tolist(), strict=True))
    dimensions = OUTPUTS if RATED else OUTPUTS[len(LABELS) :]
    if not RATED:
        by_name["label"] = decided(prediction)
        by_name["probabilities"] = {label: named[label] for label in LABELS}
    if dimensions:
        by_name["ratings"] = {name: rating(named[name], OUTPUTS.index(name)) for name in dimensions}
    return by_name


def timeline(samples: np.ndarray, cut: list[Turn], predictions: list[np.ndarray], kind: str) -> str:
    """Predictions of turns as HTML: waveform, lanes of speakers, strips of labels, and tables."""
    seconds = len(samples) / RATE
    head = f"<p>{html.escape(picture.counted(len(cut), kind))}</p>"
    rows = picture.waveform(samples)
    names = below = tables = ""
    if not RATED:
        labels = [decided(prediction) for prediction in predictions]
        colors = dict(zip(LABELS, COLORS[: len(LABELS)], strict=True))
        rows += picture.lanes(cut, labels, colors, seconds)
        names = picture.legend(labels, LABELS, colors)
        values = [f"{prediction[: len(LABELS)].max():.3f}" for prediction in predictions]
        tables = picture.seconds_table(cut, labels, LABELS)
        tables += picture.turn_list(cut, labels, values)
    spans = [(turn.start, turn.end) for turn in cut]
    below = strips(predictions, spans, (0.0, seconds))
    lanes = f'<div class="prediction strips">{head}<ol>{rows}</ol>{names}</div>'
    return f'{lanes}{below}<div class="prediction">{tables}</div>'


def decided(prediction: np.ndarray) -> str:
    """The label with the highest probability, or unknown below the model's threshold."""
    of_labels = prediction[: len(LABELS)]
    if THRESHOLD is not None and of_labels.max() < THRESHOLD:
        return picture.UNKNOWN
    return LABELS[int(of_labels.argmax())]


def predict_live(
    chunk: tuple[int, np.ndarray] | None, state: dict | None
) -> tuple[dict | None, str, str]:
    """Predict the last window after one more chunk from the microphone.

    The previous predictions stay visible. The state of a session stays small: the samples of one
    window and the predictions of `SHOWN` seconds.
    """
    if chunk is None:
        return state, gr.skip(), gr.skip()
    rate, samples = chunk
    scale = np.iinfo(samples.dtype).max
    if samples.ndim > 1:
        samples = samples.mean(axis=1)
    samples = samples.astype(np.float32) / scale
    state = state or {
        "samples": np.zeros(0, np.float32),
        "predictions": [],
        "borders": [0.0],
        "now": 0.0,
        "skip": 0,
    }
    now = state["now"] + len(samples) / rate
    last = np.concatenate([state["samples"], samples])
    state |= {"now": now, "samples": last[-round(WINDOW * rate) :]}
    if state["skip"]:
        return state | {"skip": state["skip"] - 1}, gr.skip(), gr.skip()
    prediction = np.full(len(OUTPUTS), np.nan)
    what = "No speech."
    began = time.monotonic()
    last = state["samples"]
    if len(last) < 0.5 * rate:
        what = "Listening."
    elif np.abs(last).max() >= QUIET:
        prediction = next(CLASSIFIER.predict([soxr.resample(last, rate, RATE)], 1))
        what = f"the last {len(last) / rate:.1f} s"
    # Gradio keeps one chunk while another is processed, and drops more: a slow model skips
    # predictions.
    skip = math.ceil((time.monotonic() - began) / EVERY) - 1
    predictions = [*state["predictions"], prediction]
    borders = [*state["borders"], now]
    gone = sum(border < now - SHOWN for border in borders[1:])
    state |= {"predictions": predictions[gone:], "borders": borders[gone:], "skip": max(0, skip)}
    first = state["borders"][0]
    spans = list(zip(state["borders"][:-1], state["borders"][1:], strict=True))
    return (
        state,
        bars(prediction, what, ranked=False),
        strips(state["predictions"], spans, (first, max(now, first + 10.0))),
    )


def bars(prediction: np.ndarray, what: str, ranked: bool = True) -> str:
    """Probabilities as HTML, or dimensions on the scale of their ratings, or both.

    Args:
        prediction: (outputs,); empty bars for NaN.
        what: was predicted; for NaN the reason.
        ranked: the highest probability first; dimensions keep their order.
    """
    valid = not np.isnan(prediction).any()
    order = range(len(LABELS))
    if valid and ranked and not RATED:
        order = np.argsort(-prediction[: len(LABELS)], kind="stable")
    lists = "".join(bar(prediction[i], i) for i in order)
    lists = f"<ol>{lists}</ol>"
    if len(OUTPUTS) > len(LABELS):
        ratings = "".join(bar(prediction[i], i) for i in range(len(LABELS), len(OUTPUTS)))
        lists += f"<p>Ratings</p><ol>{ratings}</ol>"

    headline = what
    if valid and not RATED:
        best = decided(prediction)
        if best == picture.UNKNOWN:
            highest = LABELS[int(prediction[: len(LABELS)].argmax())]
            what = f"no probability reaches {THRESHOLD:.2f}, highest: {highest}; {what}"
        headline = f"<strong>{html.escape(best)}</strong> ({html.escape(what)})"
    role = ' role="status"' if ranked else ""  # read out by screen readers, but not every second
    return f'<div class="prediction"{role}><p>{headline}</p>{lists}</div>'


def bar(value: float, output: int) -> str:
    """An item of a list as HTML: the name of an output, its bar and its number."""
    width = "0"
    text = ""
    if not np.isnan(value):
        width = f"{100 * np.clip(value, 0, 1):.1f}%"
        text = number(value, output)
    label = f'<span class="label">{html.escape(OUTPUTS[output])}</span>'
    style = f"width: {width}; background: {COLORS[output]}"
    drawing = f'<span class="bar"><i style="{style}"></i></span>'
    return f'<li>{label}{drawing}<span class="value">{text}</span></li>'


def number(value: float, output: int) -> str:
    """A probability, or a dimension on the scale of its ratings."""
    if output < len(LABELS) and not RATED:
        return f"{value:.3f}"
    return f"{rating(value, output):.2f}"


def rating(value: float, output: int) -> float:
    """A dimension on the scale of its ratings, from its value in the outputs."""
    low, high = RANGES[output]
    if BOUNDED:
        value = float(np.clip(value, 0, 1))
    return low + value * (high - low)


def strips(
    predictions: list[np.ndarray], spans: list[tuple[float, float]], shown: tuple[float, float]
) -> str:
    """Predictions over time as HTML, a strip for each output; NaN leaves a gap.

    Args:
        spans: the start and the end of each prediction in seconds.
        shown: the first and the last second of the strips.
    """
    if not predictions:
        return ""
    first, end = shown
    rows = []
    for i, label in enumerate(OUTPUTS):
        steps = []
        values = []
        for prediction, span in zip(predictions, spans, strict=True):
            if np.isnan(prediction[i]):
                continue
            values.append(prediction[i])
            left, right = (1000 * (at - first) / (end - first) for at in span)
            top = 1 - np.clip(prediction[i], 0, 1)
            steps.append(f"M{left:.1f} 1V{top:.3f}H{right:.1f}V1Z")
        mean = np.mean(values) if values else 0
        drawing = (
            '<svg viewBox="0 0 1000 1" preserveAspectRatio="none" role="img" '
            f'aria-label="{number(mean, i)} on average">'
            f'<path d="{"".join(steps)}" fill="{COLORS[i]}"/></svg>'
        )
        rows.append(f'<li><span class="label">{html.escape(label)}</span>{drawing}</li>')
    moments = (first, (first + end) / 2, end)
    times = "".join(f"<span>{picture.clock(moment)}</span>" for moment in moments)
    full = "the highest rating" if RATED else "a probability of 1"
    if len(OUTPUTS) > len(LABELS):
        full += " or the highest rating"
    head = f"<p>Over time: the full height of a strip is {full}.</p>"
    return (
        f'<div class="prediction strips">{head}<ol>{"".join(rows)}</ol>'
        f'<div class="times">{times}</div></div>'
    )


def about() -> str:
    """The name of the model and its main metrics."""
    escape = html.escape
    links = []
    for word, address in FACTS["links"].items():
        if address.startswith("http"):
            links.append(f'<a href="{escape(address)}">{word}</a>')
        else:
            links.append(f"{word}: {escape(address)}")
    leak = ""
    if FACTS["leak"]:
        leak = f'<div class="note leak" role="alert"><p>{escape(FACTS["leak"])}</p></div>'
    headline = f"<p>{escape(FACTS['headline'])}</p>" if FACTS["headline"] else ""
    return (
        f'<div class="about">{leak}<h1>{escape(FACTS["title"])}</h1>{headline}'
        f"<p>{' · '.join(links)}</p></div>"
    )


def limitations() -> str:
    """What the page warns of."""
    paragraphs = "".join(f"<p>{html.escape(text)}</p>" for text in FACTS["limits"])
    return f'<div class="note limits">{paragraphs}</div>'


with gr.Blocks(title=FACTS["title"], analytics_enabled=False, delete_cache=(300, 600)) as demo:
    gr.HTML(about())
    with gr.Tab("Recording"):
        # Without buttons: the share button would publish a recording.
        audio = gr.Audio(
            sources=["upload", "microphone"], type="filepath", buttons=[], label="Speech"
        )
        with gr.Accordion("Turns of a long recording", open=False):
            division = gr.Radio(
                [SPEECH, WINDOWS],
                value=SPEECH if turns.FINDS_SPEECH else WINDOWS,
                label="Divide it into",
                visible=turns.FINDS_SPEECH,
            )
            turn_file = gr.File(
                file_types=turns.SUFFIXES,
                label="or take the turns of a file, as a speaker diarizer writes it: "
                + ", ".join(turns.SUFFIXES),
            )
        shown = [gr.HTML(elem_id="recording"), gr.HTML(elem_id="over_time")]
        gr.on(
            [audio.change, turn_file.change, division.change],
            predict,
            [audio, turn_file, division],
            shown,
            api_visibility="private",
        )
        # For programs. A file that a program names is one that it has uploaded, which gradio
        # checks for these components.
        answer = gr.JSON(visible=False)
        gr.Button(visible=False).click(
            classify, [audio, turn_file, division], answer, api_name="classify"
        )
    with gr.Tab("Live"):
        microphone = gr.Audio(
            sources=["microphone"], type="numpy", streaming=True, buttons=[], label="Speech"
        )
        state = gr.State(time_to_live=3600)
        now = [state, gr.HTML(elem_id="live"), gr.HTML(elem_id="live_over_time")]
        quietly = {"show_progress": "hidden", "api_visibility": "private"}
        # When gradio 6.31 mounts a microphone it sets its own interval of 0.1 s, and then drops
        # most chunks.
        pace = f"() => ({{__type__: 'update', stream_every: {EVERY}}})"
        microphone.start_recording(None, None, microphone, js=pace, **quietly)
        microphone.start_recording(lambda: (None, "", ""), None, now, **quietly)
        often = {"stream_every": EVERY, "time_limit": 300, "concurrency_limit": 4}
        microphone.stream(predict_live, [microphone, state], now, **often, **quietly)
    gr.HTML(limitations())  # below the input, which is in sight on a phone

if __name__ == "__main__":
    _, address, _ = demo.launch(
        theme=gr.themes.Default(font=FONTS, font_mono=CODE_FONTS),
        css=CSS,
        share=False,
        max_file_size="500mb",
        run_history=False,  # it would keep recordings in the browser
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        footer_links=[],
        quiet=True,
        prevent_thread_lock=True,
    )
    print(f"listening at {address}", flush=True)
    demo.block_thread()
