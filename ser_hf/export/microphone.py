"""What a model hears in what is said now: every second, the last seconds from the microphone."""

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from ..errors import UserError

HOP_SECONDS = 1.0
WINDOW_SECONDS = 4.0  # about an utterance of the acted corpora, as `ser-hf predict --timeline` has it
_BAR = 20  # characters of a probability of 1

Ask = Callable[[np.ndarray], np.ndarray]


def listen(
    ask: Ask,
    labels: Sequence[str],
    sampling_rate: int,
    *,
    window: float | None = None,
    hop: float | None = None,
    seconds: float | None = None,
    as_json: bool | None = None,
    file: TextIO | None = None,
    blocks: Iterable[np.ndarray] | None = None,
) -> None:
    """Answers until the time is over, the sound ends or the user interrupts.

    Args:
        ask: waveform float32 (samples,) -> probabilities (labels,).
        sampling_rate: Hz of the waveforms.
        window: seconds that are heard at once, the last ones; less at the beginning.
        hop: seconds from one answer to the next.
        seconds: to listen altogether; None goes on until interrupted.
        as_json: a line of JSON an answer (``start`` and ``end`` in seconds, ``predicted``, ``probabilities``); else
            one line that is written over. None decides by whether `file` is a terminal.
        file: where answers go, standard output by default.
        blocks: samples, float32 (any number,), one after the other; None takes them from the microphone.

    Raises:
        UserError: if there is no microphone, or sounddevice, which reads it, is missing.
    """
    file = sys.stdout if file is None else file
    as_json = not file.isatty() if as_json is None else as_json
    window, hop = window or WINDOW_SECONDS, hop or HOP_SECONDS
    write = _json_line if as_json else _one_line
    longest, step = round(window * sampling_rate), max(1, round(hop * sampling_rate))
    most = None if seconds is None else round(seconds * sampling_rate)
    with contextlib.ExitStack() as opened:
        if blocks is None:
            blocks = opened.enter_context(microphone(sampling_rate, step))
        with contextlib.suppress(KeyboardInterrupt):
            for heard, end in _windows(blocks, longest, step, most):
                shares = np.asarray(ask(heard), dtype=np.float64)
                times = (end - len(heard)) / sampling_rate, end / sampling_rate
                write(file, times, labels, shares)
                file.flush()
    if not as_json:
        file.write("\n")


def _windows(
    blocks: Iterable[np.ndarray], longest: int, step: int, most: int | None
) -> Iterator[tuple[np.ndarray, int]]:
    """(the last samples, how many there were so far) whenever `step` more have come, or the last of all."""
    kept, end, told = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        block = block[: None if most is None else most - end]
        kept, end = np.concatenate([kept, block])[-longest:], end + len(block)
        last = most is not None and end >= most
        # Where the model is slower than speech, blocks are long, and one answer is for all that came meanwhile.
        if len(kept) and (end - told >= step or last and end > told):
            told = end
            yield kept, end
        if last:
            return


def _json_line(file: TextIO, times: tuple[float, float], labels: Sequence[str], shares: np.ndarray) -> None:
    row: dict[str, Any] = {"start": round(times[0], 3), "end": round(times[1], 3)}
    row["predicted"] = labels[int(shares.argmax())]
    row["probabilities"] = {label: float(f"{share:.7g}") for label, share in zip(labels, shares, strict=True)}
    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _one_line(file: TextIO, times: tuple[float, float], labels: Sequence[str], shares: np.ndarray) -> None:
    """When, the most probable label with a bar, and the others as far as there is room."""
    mark = "\u2588" if (file.encoding or "").lower().replace("-", "").startswith("utf") else "#"
    order = shares.argsort()[::-1]
    best = shares[order[0]]
    bar = mark * round(_BAR * best)
    line = f"{times[1]:6.0f} s  {labels[order[0]]:<10}  {best:.2f}  {bar:<{_BAR}}"
    for place in order[1:]:
        line += f"  {labels[place]} {shares[place]:.2f}"
    width = shutil.get_terminal_size().columns - 1
    file.write(f"\r{line[:width]:<{width}}")


@contextlib.contextmanager
def microphone(sampling_rate: int, block: int) -> Iterator[Iterator[np.ndarray]]:
    """Mono samples of the default input, float32 (`block` or more,) at a time, as they come.

    An input that does not know the rate is heard at its own, and resampled.

    Raises:
        UserError: if there is none, or sounddevice is missing.
    """
    try:
        import sounddevice
    except ImportError:
        raise UserError('--microphone: needs sounddevice: pip install "ser_hf[microphone]"') from None
    except OSError as error:  # PortAudio itself, which the package does not bring along on Linux
        raise UserError(f"--microphone: {error}; install PortAudio (Debian: apt install libportaudio2)") from None
    try:
        rate, resample = _rate(sounddevice, sampling_rate)
        stream = sounddevice.InputStream(samplerate=rate, channels=1, dtype="float32")
    except (sounddevice.PortAudioError, ValueError) as error:
        raise UserError(f"--microphone: no input can be opened ({error}); connect one, or name files") from None
    with stream:
        least = max(1, round(block * rate / sampling_rate))

        def blocks() -> Iterator[np.ndarray]:
            while True:
                samples, _ = stream.read(max(least, stream.read_available))
                yield resample(np.ascontiguousarray(samples[:, 0]))

        yield blocks()


def _rate(sounddevice: Any, wanted: int) -> tuple[int, Callable[[np.ndarray], np.ndarray]]:
    """The rate to open the input at, and what brings its samples to the wanted one."""
    try:
        sounddevice.check_input_settings(channels=1, dtype="float32", samplerate=wanted)
    except sounddevice.PortAudioError:
        import soxr

        own = int(sounddevice.query_devices(kind="input")["default_samplerate"])
        return own, soxr.ResampleStream(own, wanted, 1, dtype="float32").resample_chunk
    return wanted, lambda samples: samples


def answering(source: str, **loading: Any) -> tuple[Ask, list[str], int, float | None]:
    """A function from a waveform to probabilities, its labels, its sampling rate, and the seconds of the windows that
    the model was judged in, None where it was judged on whole clips.

    Of an ONNX file, without torch; any other model is loaded as `ser_hf.prediction.expert.load_expert` does.
    """
    from .session import SUFFIX, OnnxSession

    if source.endswith(SUFFIX):
        session = OnnxSession(source)
        return (
            lambda clip: session.ask(clip[None])[1][0],
            session.labels,
            session.sampling_rate,
            session.facts.get("window_seconds"),
        )
    # Imported late: an ONNX file needs none of it.
    from ..prediction.expert import load_expert
    from ..prediction.tables import probabilities
    from .comparison import own_answers

    expert = load_expert(source, **loading)
    rate = expert.extractor.sampling_rate
    return (
        lambda clip: probabilities(own_answers(expert, [clip]), expert.multi_label)[0],
        expert.labels,
        rate,
        expert.judged_window,
    )
