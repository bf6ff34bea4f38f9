"""A speech emotion recogniser to try: record or upload a clip, or watch the answers while you speak.

Stands alone: facts.json beside it says which model this is, and what should be known of it; audio files in examples/
are offered as examples. What is heard stays in this process: nothing is sent anywhere else, and files are deleted.
"""

import html
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import soundfile
import soxr
from transformers import pipeline
from transformers.pipelines.audio_utils import ffmpeg_read

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
FOLDER = Path(__file__).resolve().parent
FACTS = json.loads((FOLDER / "facts.json").read_text(encoding="utf-8"))
CLASSIFIER = pipeline(
    "audio-classification",
    model=FACTS["model"],
    revision=FACTS["revision"],
    trust_remote_code=FACTS["trust_remote_code"],
)
EXTRACTOR = CLASSIFIER.feature_extractor
RATE = EXTRACTOR.sampling_rate
FIXED = getattr(EXTRACTOR, "fixed_duration", None)  # seconds that every clip is cut or padded to
LABELS = [CLASSIFIER.model.config.id2label[i] for i in range(CLASSIFIER.model.config.num_labels)]

SHORTEST, LONGEST = 0.1, 600.0  # seconds of a recording
QUIET = 1e-3  # a peak of -60 dB of full scale: nobody speaks
EVERY, SHOWN = 1, 120  # seconds between two answers while somebody speaks, and of those that are kept in sight
BATCH = 8

# Of Okabe and Ito's palette, which colour-blind people can tell apart too.
PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6bb1", "#999999"]
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]
CODE_FONTS = ["ui-monospace", "Menlo", "Consolas", "monospace"]
CSS = """
.gradio-container { max-width: min(60rem, 100vw) !important; margin: auto; }
/* The waveform of a long recording is as wide as it likes, and scrolls in its own box. */
.gradio-container :is(.fillable, .wrap, .contain, .column, .tabs, .tabitem, .block, .audio-container) {
  min-width: 0; max-width: 100%; }
.about h1 { font-size: 1.5rem; font-weight: 600; margin: 0 0 .3rem; overflow-wrap: anywhere; }
.about p, .note p { margin: .3rem 0; line-height: 1.5; overflow-wrap: anywhere; }
.about a { text-decoration: underline; }
.note { border: 1px solid var(--border-color-primary); border-left-width: 4px; border-radius: 4px;
  padding: .3rem .8rem; margin: .6rem 0; font-size: .9rem; }
.note.leak { background: #b42318; border-color: #b42318; font-size: 1rem; }
.note.leak p { color: #fff !important; }
.answer p { margin: 0 0 .6rem; min-height: 1.8rem; }
.answer strong { font-size: 1.3rem; }
.answer ol { list-style: none; margin: 0; padding: 0; }
.answer li { display: grid; grid-template-columns: minmax(5.5rem, auto) 1fr 3rem; gap: .6rem; align-items: center;
  padding: .15rem 0; }
.answer .label { overflow-wrap: anywhere; }
.answer .bar { height: .8rem; background: var(--border-color-primary); border-radius: 2px; overflow: hidden; }
.answer .bar i { display: block; height: 100%; }
.answer .value { text-align: right; font-variant-numeric: tabular-nums; }
.strips li { grid-template-columns: 5.5rem 1fr; }
.strips svg { width: 100%; height: 1.8rem; border-bottom: 1px solid var(--border-color-primary); }
.strips .times { display: flex; justify-content: space-between; margin-left: 6.1rem; font-size: .85rem; }
"""


class NotHeardError(ValueError):
    """What is wrong with a recording, in words for who made it."""


def read(path: str) -> tuple[np.ndarray, float]:
    """The first `LONGEST` seconds of a file as the model hears them, float32 of shape (samples,) in [-1, 1], mono at
    `RATE`, and how many seconds the whole file lasts. Raises `NotHeardError` where there is nothing to hear."""
    try:
        with soundfile.SoundFile(path) as file:
            rate, seconds = file.samplerate, file.frames / file.samplerate
            samples = file.read(math.ceil(LONGEST * rate), dtype="float32", always_2d=True).mean(axis=1)
    except soundfile.LibsndfileError:
        try:  # what phones record, where ffmpeg is installed
            samples, rate = ffmpeg_read(Path(path).read_bytes(), RATE), RATE
        except (ValueError, OSError):
            raise NotHeardError("This is no recording that can be read here: WAV, FLAC, MP3 and OGG can.") from None
        seconds = len(samples) / RATE
        samples = samples[: math.ceil(LONGEST * RATE)]
    if not len(samples):
        raise NotHeardError("This recording is empty.")
    if len(samples) < SHORTEST * rate:
        raise NotHeardError(f"This recording is shorter than {SHORTEST} s.")
    if not np.isfinite(samples).all():
        raise NotHeardError("This recording holds samples that are no numbers.")
    if np.abs(samples).max() < QUIET:
        raise NotHeardError("This recording is silent.")
    return soxr.resample(samples, rate, RATE), seconds


def limits() -> tuple[float, float]:
    """Seconds of the windows over time, and of the longest clip that is heard whole: as the model was judged, and no
    more than its extractor takes (Whisper's `chunk_length`; the frames of 10 ms of a spectrogram's `max_length`)."""
    frames = getattr(EXTRACTOR, "max_length", None)
    longest = (FACTS["window"], getattr(EXTRACTOR, "chunk_length", None), frames and frames / 100, 30.0)
    whole = min(seconds for seconds in longest if seconds)
    return min(FIXED or FACTS["window"] or 4.0, whole), whole


WINDOW, WHOLE = limits()


def sliding(samples: np.ndarray) -> tuple[list[np.ndarray], list[float]]:
    """Windows that overlap by half, the last one ending with the recording; and the seconds at which one gives way to
    the next, halfway between their middles, with those of begin and end."""
    length = round(WINDOW * RATE)
    last = max(0, len(samples) - length)
    starts = [*range(0, last, length // 2), last]
    borders = [(one + other + length) / 2 for one, other in zip(starts[:-1], starts[1:], strict=True)]
    return [samples[i : i + length] for i in starts], [at / RATE for at in (0, *borders, len(samples))]


def ask(clips: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Probabilities of each clip, shape (labels,), as the pipeline gives them; the clips are of one length."""
    for i in range(0, len(clips), BATCH):
        inputs = [{"raw": clip, "sampling_rate": RATE} for clip in clips[i : i + BATCH]]
        for answer in CLASSIFIER(inputs, batch_size=BATCH, top_k=None):
            scores = {row["label"]: row["score"] for row in answer}
            yield np.array([scores[label] for label in LABELS])


def hear(path: str | None, progress: gr.Progress = gr.Progress()) -> tuple[str, str]:  # noqa: B008 (gradio's own way)
    """What the model says of a recording: its probabilities, and those over time where it is longer than a window."""
    if path is None:
        return "", ""
    try:
        samples, seconds = read(path)
    except NotHeardError as error:
        return f'<div class="answer" role="alert"><p>{error}</p></div>', ""
    windows, borders = sliding(samples) if len(samples) > WINDOW * RATE else ([], [])
    answers = list(progress.tqdm(ask(windows), total=len(windows), unit="windows")) if windows else []
    if len(samples) <= WHOLE * RATE:
        cut = FIXED is not None and seconds > FIXED
        heard = f"the first {FIXED:g} s of {seconds:.1f} s" if cut else f"{seconds:.1f} s, heard whole"
        answer = next(ask([samples]))
    else:
        answer, heard = np.mean(answers, axis=0), f"{seconds:.0f} s, mean of {len(windows)} windows of {WINDOW:g} s"
    if seconds > LONGEST:
        heard += f", of the first {LONGEST:g} s alone"
    if np.isnan(answer).any():
        heard = "The model answers with no numbers."
    return bars(answer, heard), strips(answers, borders)


def listen(chunk: tuple[int, np.ndarray] | None, state: dict | None) -> tuple[dict | None, str, str]:
    """One more piece of what the microphone hears: the answer for the last window, and those before it.

    The state of a session holds the samples of one window and the answers of `SHOWN` seconds, however long it lasts.
    """
    if chunk is None:
        return state, gr.skip(), gr.skip()
    rate, samples = chunk
    scale = np.iinfo(samples.dtype).max
    samples = (samples if samples.ndim == 1 else samples.mean(axis=1)).astype(np.float32) / scale
    state = state or {"samples": np.zeros(0, np.float32), "answers": [], "borders": [0.0], "now": 0.0, "skip": 0}
    now, last = state["now"] + len(samples) / rate, np.concatenate([state["samples"], samples])
    state |= {"now": now, "samples": last[-round(WINDOW * rate) :]}
    if state["skip"]:
        return state | {"skip": state["skip"] - 1}, gr.skip(), gr.skip()
    answer, heard, began = np.full(len(LABELS), np.nan), "Nobody speaks.", time.monotonic()
    last = state["samples"]
    if len(last) < 0.5 * rate:
        heard = "Listening."
    elif np.abs(last).max() >= QUIET:
        answer, heard = next(ask([soxr.resample(last, rate, RATE)])), f"the last {len(last) / rate:.1f} s"
    # Gradio holds one piece while another is heard, and loses more: a slow model is asked less often.
    skip = math.ceil((time.monotonic() - began) / EVERY) - 1
    answers, borders = [*state["answers"], answer], [*state["borders"], now]
    gone = sum(border < now - SHOWN for border in borders[1:])
    state |= {"answers": answers[gone:], "borders": borders[gone:], "skip": max(0, skip)}
    return state, bars(answer, heard, ranked=False), strips(state["answers"], state["borders"], at_least=10.0)


def bars(answer: np.ndarray, heard: str, ranked: bool = True) -> str:
    """Probabilities as HTML, `ranked` with the highest first; empty bars where there are none (NaN), and `heard` says
    why, as it says of what they are else."""
    known = not np.isnan(answer).any()
    rows = []
    for i in np.argsort(-answer, kind="stable") if known and ranked else range(len(LABELS)):
        width, value = (f"{100 * answer[i]:.1f}%", f"{answer[i]:.3f}") if known else ("0", "")
        label = f'<span class="label">{html.escape(LABELS[i])}</span>'
        bar = f'<span class="bar"><i style="width: {width}; background: {colour(i)}"></i></span>'
        rows.append(f'<li>{label}{bar}<span class="value">{value}</span></li>')
    best = f"<strong>{html.escape(LABELS[int(answer.argmax())])}</strong> ({heard})" if known else heard
    spoken = ' role="status"' if ranked else ""  # to screen readers, but not each second
    return f'<div class="answer"{spoken}><p>{best}</p><ol>{"".join(rows)}</ol></div>'


def strips(answers: list[np.ndarray], borders: list[float], at_least: float = 0.0) -> str:
    """Probabilities over time as HTML, a strip for each label; nothing is drawn where there is no answer.

    Args:
        borders: seconds at which each answer begins, and the last one ends.
        at_least: seconds that the strips are wide enough for.
    """
    if not answers:
        return ""
    first, end = borders[0], max(borders[-1], borders[0] + at_least)
    rows = []
    for i, label in enumerate(LABELS):
        steps = [
            f"M{1000 * (begin - first) / (end - first):.1f} 1V{1 - answer[i]:.3f}H"
            f"{1000 * (border - first) / (end - first):.1f}V1Z"
            for answer, begin, border in zip(answers, borders[:-1], borders[1:], strict=True)
            if not np.isnan(answer[i])
        ]
        mean = np.nanmean([answer[i] for answer in answers]) if steps else 0
        picture = (
            f'<svg viewBox="0 0 1000 1" preserveAspectRatio="none" role="img" aria-label="{mean:.3f} on average">'
            f'<path d="{"".join(steps)}" fill="{colour(i)}"/></svg>'
        )
        rows.append(f'<li><span class="label">{html.escape(label)}</span>{picture}</li>')
    times = "".join(f"<span>{clock(at)}</span>" for at in (first, (first + end) / 2, end))
    head = "<p>Over time: the full height of a strip is a probability of 1.</p>"
    return f'<div class="answer strips">{head}<ol>{"".join(rows)}</ol><div class="times">{times}</div></div>'


def colour(label: int) -> str:
    return PALETTE[label % len(PALETTE)]


def clock(seconds: float) -> str:
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def about() -> str:
    """Which model this is, how good, and what it is not for."""
    name, escape = FACTS["title"], html.escape
    links = [
        f'<a href="{escape(place)}">{word}</a>' if place.startswith("http") else f"{word}: {escape(place)}"
        for word, place in FACTS["links"].items()
    ]
    leak = f'<div class="note leak" role="alert"><p>{escape(FACTS["leak"])}</p></div>' if FACTS["leak"] else ""
    headline = f"<p>{escape(FACTS['headline'])}</p>" if FACTS["headline"] else ""
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in FACTS["limits"])
    return (
        f'<div class="about">{leak}<h1>{escape(name)}</h1>{headline}<p>{" · ".join(links)}</p></div>'
        f'<div class="note">{paragraphs}</div>'
    )


with gr.Blocks(title=FACTS["title"], analytics_enabled=False, delete_cache=(300, 600)) as demo:
    gr.HTML(about())
    with gr.Tab("A recording"):
        # Without buttons: the one for sharing would publish a recording.
        audio = gr.Audio(sources=["upload", "microphone"], type="filepath", buttons=[], label="Speech")
        files = sorted(str(path) for path in (FOLDER / "examples").glob("*") if not path.name.startswith("."))
        if files:
            gr.Examples(files, audio, cache_examples=False)
        heard = [gr.HTML(elem_id="heard"), gr.HTML()]
        audio.change(hear, audio, heard, api_visibility="private")
    with gr.Tab("While you speak"):
        microphone = gr.Audio(sources=["microphone"], type="numpy", streaming=True, buttons=[], label="Speech")
        state = gr.State(time_to_live=3600)
        now = [state, gr.HTML(elem_id="now"), gr.HTML(elem_id="passing")]
        quietly = {"show_progress": "hidden", "api_visibility": "private"}
        # The microphone of gradio 6.31 sets its own 0.1 s as it is mounted, sends that often, and loses most of it.
        pace = f"() => ({{__type__: 'update', stream_every: {EVERY}}})"
        microphone.start_recording(None, None, microphone, js=pace, **quietly)
        microphone.start_recording(lambda: (None, "", ""), None, now, **quietly)
        often = {"stream_every": EVERY, "time_limit": 300, "concurrency_limit": 4}
        microphone.stream(listen, [microphone, state], now, **often, **quietly)

if __name__ == "__main__":
    _, address, _ = demo.launch(
        theme=gr.themes.Default(font=FONTS, font_mono=CODE_FONTS),
        css=CSS,
        share=False,
        max_file_size="200mb",
        run_history=False,  # which would keep recordings in the browser
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        footer_links=[],
        quiet=True,
        prevent_thread_lock=True,
    )
    print(f"listening at {address}", flush=True)
    demo.block_thread()
