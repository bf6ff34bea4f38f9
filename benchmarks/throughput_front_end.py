"""Compare the batched_log_mel log-mel front end to librosa's for single files: part d of `throughput.py`."""

import argparse
import tempfile
from pathlib import Path

import librosa
import numpy as np
import torch
from example_loop import decode
from side_by_side import RATE, clock, corpus, row, time_alternately, write_clips
from threadpoolctl import threadpool_limits

from ser_hf.audio import WaveformStore
from ser_hf.models.configuration import AcousticConfig
from ser_hf.models.front_end import LogMel
from ser_hf.utils.environment import freed_memory_kept

BATCH = 32
# 25 ms windows every 10 ms, centered frames as by librosa's default, in decibels.
CONFIG = AcousticConfig(n_fft=512, win_length=400, hop_length=160, center=True, compression="db", top_db=80.0)


def front_end(options: argparse.Namespace) -> list[dict]:
    """Compare our front end, which reads the store in batches of similar length, to librosa on waveforms or files.

    Raises:
        RuntimeError: if their outputs differ by more than 0.001 of the value plus 0.001 dB.
    """
    _, store, rows = corpus(options.corpus_root, 2 * BATCH if options.quick else 240)
    rows = sorted(rows["train"], key=lambda index: store.lengths[index])
    network, threads = LogMel(CONFIG).eval(), torch.get_num_threads()
    waveforms = [np.array(store[index]) for index in rows]
    difference = largest_difference(batched_log_mel(network, store, rows), waveforms)
    print(f"  largest difference {difference:.1e} dB", flush=True)

    def ours(count: int, device: str = "cpu") -> tuple[float, float]:
        network.to(device)
        torch.set_num_threads(count)
        try:
            return clock(lambda: batched_log_mel(network, store, rows, device))
        finally:
            torch.set_num_threads(threads)

    def theirs(clips: list) -> tuple[float, float]:
        with threadpool_limits(1):
            return clock(lambda: [librosa_log_mel(decode(c, RATE) if isinstance(c, str) else c) for c in clips])

    with tempfile.TemporaryDirectory() as scratch:
        files = {
            kind: list(write_clips(store, rows, Path(scratch) / kind.replace(" ", "-"), kind).values())
            for kind in ("16 kHz FLAC", "48 kHz WAV")
        }
        functions = {
            "one thread": lambda: ours(1),
            "all threads": lambda: ours(threads),
            "memory": lambda: theirs(waveforms),
        }
        functions |= {kind: lambda paths=paths: theirs(paths) for kind, paths in files.items()}
        if torch.cuda.is_available():
            functions["GPU"] = lambda: ours(threads, "cuda")
        with freed_memory_kept():  # as in all commands
            for work in functions.values():
                work()  # warms up
            measured = time_alternately(functions, max(5, options.repeats))
    librosa_name, memory = "librosa, one thread", "librosa, one thread, decoded before"
    lines = [
        ("one thread", "one thread", "memory", memory),
        ("all threads", f"{threads} thread{'s' * (threads > 1)}", "memory", memory),
        *(
            ("all threads", f"{threads} thread{'s' * (threads > 1)}", kind, f"{librosa_name}, {kind} files")
            for kind in files
        ),
    ]
    if "GPU" in measured:
        lines.append(("GPU", "GPU", "memory", memory))
    table_rows = [
        row(f"log-mels from the store, {description}", against, len(rows), measured[ours_name], measured[other], 10.0)
        for ours_name, description, other, against in lines
    ]
    table_rows[0]["largest_difference_db"] = difference
    return table_rows


@torch.inference_mode()
def batched_log_mel(network: LogMel, store: WaveformStore, rows: list[int], device: str = "cpu") -> list[torch.Tensor]:
    """Return (frames, bands) of each clip, on the CPU."""
    outputs = []
    for begin in range(0, len(rows), BATCH):
        clips = [torch.from_numpy(np.array(store[index])) for index in rows[begin : begin + BATCH]]
        lengths = torch.tensor([len(clip) for clip in clips])
        padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
        spectrum, mask = network(padded.to(device), lengths.to(device))
        outputs += [values[real] for values, real in zip(spectrum.cpu(), mask.cpu(), strict=True)]
    return outputs


def librosa_log_mel(waveform: np.ndarray) -> np.ndarray:
    """Return (frames, bands) of a clip by librosa."""
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
    for features, waveform in zip(ours, waveforms, strict=True):
        expected = librosa_log_mel(waveform)
        if features.shape != expected.shape:
            raise RuntimeError(f"our shape (frames, bands) is {tuple(features.shape)}, librosa's {expected.shape}")
        largest = max(largest, float(np.abs(features.numpy() - expected).max()))
        if not np.allclose(features, expected, rtol=1e-3, atol=1e-3):
            raise RuntimeError(f"the front ends differ by {largest:.2g} dB")
    return largest
