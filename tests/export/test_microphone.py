"""What is said now, answered as it comes: fed by lists of samples, by a fake of sounddevice, and without a device."""

import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ser_hf import cli
from ser_hf.errors import UserError
from ser_hf.export import microphone
from ser_hf.export.microphone import listen

LABELS = ["calm", "loud"]
RATE = 1000


def ask(clip):
    """As loud as its mean."""
    share = float(clip.mean())
    return np.array([1 - share, share])


def answers(blocks, **options):
    file = io.StringIO()
    listen(ask, LABELS, RATE, file=file, blocks=blocks, as_json=True, **options)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_every_second_the_last_seconds_are_heard():
    signal = np.repeat(np.float32([0, 1, 1, 0]), RATE)
    rows = answers(np.array_split(signal, 16), window=2)
    assert [(row["start"], row["end"]) for row in rows] == [(0, 1), (0, 2), (1, 3), (2, 4)]
    assert [row["probabilities"]["loud"] for row in rows] == [0, 0.5, 1, 0.5]
    assert [row["predicted"] for row in rows] == ["calm", "calm", "loud", "calm"]


def test_time_runs_out_within_a_block_and_long_blocks_are_one_answer():
    blocks = iter(np.split(np.ones(12 * RATE, np.float32), 4))  # 3 s each: the model was slower than speech
    rows = answers(blocks, seconds=7.5)
    assert [(row["start"], row["end"]) for row in rows] == [(0, 3), (2, 6), (3.5, 7.5)]
    assert len(list(blocks)) == 1, "nothing is read beyond the time"


def test_hops_are_as_asked_and_an_interruption_ends_it():
    def until_interrupted():
        for _ in range(5):
            yield np.zeros(RATE // 2, np.float32)
        raise KeyboardInterrupt

    rows = answers(until_interrupted(), hop=0.5)
    assert [row["end"] for row in rows] == [0.5, 1, 1.5, 2, 2.5]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_on_a_terminal_one_line_is_written_over(monkeypatch):
    monkeypatch.setenv("COLUMNS", "48")
    file = Terminal()
    listen(ask, LABELS, RATE, file=file, blocks=[np.ones(RATE, np.float32), np.zeros(RATE, np.float32)])
    first, second = file.getvalue().rstrip("\n").split("\r")[1:]
    assert len(first) == len(second) == 47
    assert "loud" in first
    assert "1.00  \u2588\u2588" in first
    assert file.getvalue().count("\n") == 1


class Device:
    """sounddevice with one input, that knows one rate."""

    class PortAudioError(Exception):
        pass

    def __init__(self, rate=RATE, inputs=1):
        self.rate, self.inputs, self.opened = rate, inputs, []

    def check_input_settings(self, channels, dtype, samplerate):
        if samplerate != self.rate:
            raise self.PortAudioError("Invalid sample rate")

    def query_devices(self, kind):
        if not self.inputs:
            raise self.PortAudioError("Error querying device -1")
        return {"default_samplerate": float(self.rate)}

    def InputStream(self, samplerate, channels, dtype):
        if not self.inputs:
            raise self.PortAudioError("Error querying device -1")
        self.opened.append(samplerate)
        return Stream(samplerate)


class Stream:
    read_available = 0

    def __init__(self, rate):
        self.rate, self.at = rate, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.rate = None

    def read(self, frames):
        place = np.arange(self.at, self.at + frames)
        self.at += frames
        return np.sin(2 * np.pi * 5 * place / self.rate)[:, None].astype(np.float32), False


def test_the_default_input_is_read_and_closed(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", Device())
    with microphone.microphone(RATE, RATE) as blocks:
        assert [len(next(blocks)) for _ in range(3)] == [RATE] * 3


def test_an_input_of_another_rate_is_resampled(monkeypatch):
    device = Device(rate=2500)
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    with microphone.microphone(RATE, RATE) as blocks:
        heard = np.concatenate([next(blocks) for _ in range(4)])
    assert device.opened == [2500]
    assert 3500 < len(heard) <= 4000
    expected = np.sin(2 * np.pi * 5 * np.arange(len(heard)) / RATE)
    assert np.abs(heard - expected)[100:].max() < 0.01


def test_no_input_and_no_package_are_told(monkeypatch):
    for device, told in ((Device(inputs=0), "no input can be opened"), (Device(rate=1, inputs=0), "no input can be")):
        monkeypatch.setitem(sys.modules, "sounddevice", device)
        with pytest.raises(UserError, match=told), microphone.microphone(RATE, RATE):
            pass
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UserError, match=r'pip install "ser_hf\[microphone\]"'), microphone.microphone(RATE, RATE):
        pass


def test_the_command_takes_what_it_can_do(monkeypatch, capsys):
    session = SimpleNamespace(labels=LABELS, sampling_rate=RATE, facts={}, ask=lambda clip: (None, ask(clip)[None]))
    monkeypatch.setattr("ser_hf.export.session.OnnxSession", lambda path: session)
    monkeypatch.setitem(sys.modules, "sounddevice", Device())
    assert cli.main(["predict", "model.onnx", "--microphone", "--seconds", "2", "--window", "1"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["start"], row["end"]) for row in rows] == [(0, 1), (1, 2)]
    for words, told in (
        (["--microphone", "a.wav"], "INPUT: --microphone hears"),
        (["--microphone", "--output", "x.csv"], "--output: --microphone hears"),
        (["--microphone", "--format", "csv"], "use jsonl"),
        (["--microphone", "--seconds", "0"], "--seconds: expected seconds"),
        (["--seconds", "3"], "belongs to --microphone"),
    ):
        assert cli.main(["predict", "model.onnx", *words]) == 2
        assert told in capsys.readouterr().err


def test_a_file_is_asked_without_torch():
    import subprocess

    code = "import sys, ser_hf.export.microphone, ser_hf.export.session\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
