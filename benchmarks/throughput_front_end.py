"""The log-mel front end, batched, and librosa's, file by file: part d of `throughput.py`."""

import argparse
import tempfile
from pathlib import Path

import librosa
import numpy as np
import torch
from example_loop import decoded
from side_by_side import RATE, clock, corpus, row, turns, written
from threadpoolctl import threadpool_limits

from ser_hf.audio import WaveformStore
from ser_hf.models.configuration import AcousticConfig
from ser_hf.models.front_end import LogMel
from ser_hf.utils.environment import freed_memory_kept

BATCH = 32
# The seeds' usual 25 ms each 10 ms, frames centered as librosa has them by default, in decibels.
CONFIG = AcousticConfig(n_fft=512, win_length=400, hop_length=160, center=True, compression="db", top_db=80.0)


def front_end(options: argparse.Namespace) -> list[dict]:
    """Ours reads the store, pads batches of similar length and computes, as evaluation does; librosa has waveforms in
    memory, or decodes files.

    Raises:
        RuntimeError: if what they compute differs by more than 0.001 of the value and 0.001 dB.
    """
    _, store, rows = corpus(options.corpus_root, 2 * BATCH if options.quick else 240)
    rows = sorted(rows["train"], key=lambda index: store.lengths[index])
    network, threads = LogMel(CONFIG).eval(), torch.get_num_threads()
    waveforms = [np.array(store[index]) for index in rows]
    difference = largest_difference(batched(network, store, rows), waveforms)
    print(f"  largest difference {difference:.1e} dB", flush=True)

    def ours(count: int, device: str = "cpu") -> tuple[float, float]:
        network.to(device)
        torch.set_num_threads(count)
        try:
            return clock(lambda: batched(network, store, rows, device))
        finally:
            torch.set_num_threads(threads)

    def theirs(clips: list) -> tuple[float, float]:
        with threadpool_limits(1):
            return clock(lambda: [one_by_one(decoded(c, RATE) if isinstance(c, str) else c) for c in clips])

    with tempfile.TemporaryDirectory() as scratch:
        files = {
            kind: list(written(store, rows, Path(scratch) / kind.replace(" ", "-"), kind).values())
            for kind in ("16 kHz FLAC", "48 kHz WAV")
        }
        ways = {
            "one thread": lambda: ours(1),
            "all threads": lambda: ours(threads),
            "memory": lambda: theirs(waveforms),
        }
        ways |= {kind: lambda own=own: theirs(own) for kind, own in files.items()}
        if torch.cuda.is_available():
            ways["GPU"] = lambda: ours(threads, "cuda")
        with freed_memory_kept():  # as all commands have it
            for work in ways.values():
                work()  # warms up
            measured = turns(ways, max(5, options.repeats))
    alone, memory = "librosa, one thread", "librosa, one thread, decoded before"
    lines = [
        ("one thread", "one thread", "memory", memory),
        ("all threads", f"{threads} thread{'s' * (threads > 1)}", "memory", memory),
        *(("all threads", f"{threads} thread{'s' * (threads > 1)}", kind, f"{alone}, {kind} files") for kind in files),
    ]
    if "GPU" in measured:
        lines.append(("GPU", "GPU", "memory", memory))
    made = [
        row(f"log-mels from the store, {said}", against, len(rows), measured[own], measured[other], 10.0)
        for own, said, other, against in lines
    ]
    made[0]["largest_difference_db"] = difference
    return made


@torch.inference_mode()
def batched(network: LogMel, store: WaveformStore, rows: list[int], device: str = "cpu") -> list[torch.Tensor]:
    """(frames, bands) of each clip, on the CPU."""
    outputs = []
    for begin in range(0, len(rows), BATCH):
        clips = [torch.from_numpy(np.array(store[index])) for index in rows[begin : begin + BATCH]]
        lengths = torch.tensor([len(clip) for clip in clips])
        padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
        spectrum, mask = network(padded.to(device), lengths.to(device))
        outputs += [values[real] for values, real in zip(spectrum.cpu(), mask.cpu(), strict=True)]
    return outputs


def one_by_one(waveform: np.ndarray) -> np.ndarray:
    """(frames, bands) of a clip, by librosa."""
    mel = librosa.feature.melspectrogram(
        y=waveform,
        sr=CONFIG.sampling_rate,
        n_fft=CONFIG.n_fft,
        win_length=CONFIG.win_length,
        hop_length=CONFIG.hop_length,
        n_mels=CONFIG.n_mels,
        fmin=CONFIG.f_min,
    )
    return librosa.power_to_db(mel, amin=CONFIG.floor, top_db=CONFIG.top_db).T


def largest_difference(ours: list[torch.Tensor], waveforms: list[np.ndarray]) -> float:
    largest = 0.0
    for own, waveform in zip(ours, waveforms, strict=True):
        right = one_by_one(waveform)
        if own.shape != right.shape:
            raise RuntimeError(f"ours has frames and bands {tuple(own.shape)}, librosa {right.shape}")
        largest = max(largest, float(np.abs(own.numpy() - right).max()))
        if not np.allclose(own, right, rtol=1e-3, atol=1e-3):
            raise RuntimeError(f"the front ends differ by {largest:.2g} dB")
    return largest
