"""Compare the log-mel front end to torchaudio's and librosa's, each on one thread: part d of
`throughput.py`.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
import torchaudio
from example_loop import decode
from fixed_split import CROP
from side_by_side import RATE, clock, corpus, row, time_alternately, write_clips
from threadpoolctl import threadpool_limits

from ser_hf.audio import WaveformStore
from ser_hf.models.configuration import AcousticConfig
from ser_hf.models.spectra import LogMel
from ser_hf.utils.environment import freed_memory_kept

BATCH = 32
TORCHAUDIO_BATCH = 16
# 25 ms windows every 10 ms, centered frames as by librosa's default, in decibels.
CONFIG = AcousticConfig(
    n_fft=512, win_length=400, hop_length=160, center=True, compression="db", top_db=80.0
)


def front_end(options: argparse.Namespace) -> list[dict]:
    """Compare our front end to torchaudio on equal batches, and, from the store, to librosa on
    waveforms or files.

    Raises:
        RuntimeError: if the outputs of librosa differ by more than 0.001 of the value plus 0.001
            dB.
    """
    _, store, rows = corpus(options.corpus_root, 2 * BATCH if options.quick else 240)
    rows = sorted(rows["train"], key=lambda index: store.lengths[index])
    network = LogMel(CONFIG).eval()
    waveforms = [np.array(store[index]) for index in rows]
    difference = largest_difference(batched_log_mel(network, store, rows), waveforms)
    print(f"  largest difference {difference:.1e} dB", flush=True)
    # Crops of one length, since torchaudio knows no padding.
    crops = torch.from_numpy(
        np.stack([np.resize(waveform, round(CROP * RATE)) for waveform in waveforms])
    )
    batches = [batch for batch in crops.split(TORCHAUDIO_BATCH) if len(batch) == TORCHAUDIO_BATCH]
    lengths = torch.full((TORCHAUDIO_BATCH,), crops.shape[1])
    mel, decibels = torchaudio_log_mel()

    def librosa_of(clips: list) -> None:
        for clip in clips:
            librosa_log_mel(decode(clip, RATE) if isinstance(clip, str) else clip)

    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        files = {
            kind: list(
                write_clips(store, rows, Path(scratch) / kind.replace(" ", "-"), kind).values()
            )
            for kind in ("16 kHz FLAC", "48 kHz WAV")
        }
        work: dict[str, Callable[[], Any]] = {
            "batches": lambda: [network(batch, lengths) for batch in batches],
            "torchaudio": lambda: [decibels(mel(batch)) for batch in batches],
            "store": lambda: batched_log_mel(network, store, rows),
            "librosa, decoded before": lambda: librosa_of(waveforms),
            **{
                f"librosa, {kind} files": lambda paths=paths: librosa_of(paths)
                for kind, paths in files.items()
            },
        }
        if torch.cuda.is_available():
            on_gpu = LogMel(CONFIG).eval().to("cuda")
            work["GPU"] = lambda: batched_log_mel(on_gpu, store, rows, "cuda")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with freed_memory_kept(), threadpool_limits(1):  # freed memory as in all commands
                for run in work.values():
                    run()  # warms up
                measured = time_alternately(
                    {name: lambda run=run: clock(run) for name, run in work.items()},
                    max(5, options.repeats),
                )
        finally:
            torch.set_num_threads(threads)
    what = f"log-mels of batches of {TORCHAUDIO_BATCH} crops of {CROP:g} s"
    lines = [
        row(
            what,
            "torchaudio, the same batches",
            TORCHAUDIO_BATCH * len(batches),
            measured["batches"],
            measured["torchaudio"],
        )
    ]
    for name in work:
        if name.startswith("librosa"):
            lines.append(
                row(
                    "log-mels from the store",
                    name,
                    len(rows),
                    measured["store"],
                    measured[name],
                    10.0,
                )
            )
    if "GPU" in measured:
        name = "librosa, decoded before"
        lines.append(
            row(
                "log-mels from the store, GPU",
                name,
                len(rows),
                measured["GPU"],
                measured[name],
                10.0,
            )
        )
    lines[1]["largest_difference_db"] = difference
    return lines


def torchaudio_log_mel() -> tuple[torch.nn.Module, torch.nn.Module]:
    """Return torchaudio's mel spectrogram and decibels with the settings of `CONFIG`."""
    mel = torchaudio.transforms.MelSpectrogram(
        sample_rate=CONFIG.sampling_rate,
        n_fft=CONFIG.n_fft,
        win_length=CONFIG.win_length,
        hop_length=CONFIG.hop_length,
        f_min=CONFIG.f_min,
        n_mels=CONFIG.n_mels,
        mel_scale="slaney",
        norm="slaney",
    )
    return mel, torchaudio.transforms.AmplitudeToDB(top_db=CONFIG.top_db)


@torch.inference_mode()
def batched_log_mel(
    network: LogMel, store: WaveformStore, rows: list[int], device: str = "cpu"
) -> list[torch.Tensor]:
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
            raise RuntimeError(
                f"our shape (frames, bands) is {tuple(features.shape)}, librosa's {expected.shape}"
            )
        largest = max(largest, float(np.abs(features.numpy() - expected).max()))
        if not np.allclose(features, expected, rtol=1e-3, atol=1e-3):
            raise RuntimeError(f"the front ends differ by {largest:.2g} dB")
    return largest
