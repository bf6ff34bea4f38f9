"""Measure how many copies of real clips the search for near duplicates finds, and its false
positives.

    python benchmarks/near_duplicates.py FOLDER... [--clips 100] [--speeds 0.87 0.93 1.07 1.15]

Each FOLDER is one corpus. First its audio files are searched unchanged. Then altered copies of
`--clips` random clips, one of each kind below, are added to the corpus. For each kind the result
has the number of copies that are found with their original and their bit errors, and for all pairs
the number that join different takes. Last, all corpora are searched together, each also at several
speeds (which are different clips to the search), to show how the time grows.

The margin is the largest correlation of two different takes whose fingerprints are similar.
Writes benchmarks/results/near_duplicates.json.
"""

import argparse
import io
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, sosfilt

from ser_hf.audio import WaveformStore, open_store
from ser_hf.audio.fingerprint import fingerprint
from ser_hf.audio.near_duplicates import FingerprintSearch, compare_waveforms, near_duplicates
from ser_hf.experiment.sections import environment_section

RATE = 16000
SUFFIXES = {".wav", ".flac", ".mp3", ".ogg"}


def encode(samples: np.ndarray, rate: int = RATE, **form) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **({"format": "WAV", "subtype": "PCM_16"} | form))
    return file.getvalue()


def copies(samples: np.ndarray, rng: np.random.Generator) -> dict[str, bytes]:
    """Altered copies of a take, kind -> file; excerpts are of active speech."""
    samples = samples / max(1.0, np.abs(samples).max())
    # The voice is active within 30 dB of the loudest 50 ms.
    loudness = np.convolve(samples**2, np.ones(800), "same")
    voice = np.flatnonzero(loudness > 1e-3 * loudness.max())
    begin = rng.integers(voice[0], max(voice[0], voice[-1] - RATE) + 1)
    excerpt = slice(begin, begin + RATE)
    cut = slice(rng.integers(len(samples) // 4), len(samples) - rng.integers(len(samples) // 4))
    mp3 = {
        "format": "MP3",
        "subtype": "MPEG_LAYER_III",
        "bitrate_mode": "CONSTANT",
        "compression_level": 0.95,
    }
    vorbis = {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.99}
    telephone = sosfilt(butter(4, (300, 3400), "bandpass", fs=RATE, output="sos"), samples)
    noise = rng.standard_normal(len(samples)) * np.sqrt(np.mean(samples[voice] ** 2))
    copies_by_kind = {
        "start and end cut off": encode(samples[cut]),
        "piece of 1 s": encode(samples[excerpt]),
        "30 dB quieter, 16 bits": encode(samples * 10 ** (-30 / 20)),
        "clipped at 0.6 of the peak": encode(np.clip(samples / np.abs(samples).max() / 0.6, -1, 1)),
        "48 kHz": encode(soxr.resample(samples, RATE, 48000), 48000),
        "8 kHz": encode(soxr.resample(samples, RATE, 8000), 8000),
        "telephone band 300-3400 Hz": encode(telephone),
        "mp3": encode(samples, **mp3),
        "mp3, lowest rate": encode(samples, **mp3 | {"compression_level": 0.99}),
        "vorbis": encode(samples, **vorbis),
        "noise at 20 dB SNR": encode(samples + 0.1 * noise),
        "noise at 10 dB SNR": encode(samples + 10**-0.5 * noise),
    }
    for name in ("mp3", "vorbis"):
        coded, _ = soundfile.read(io.BytesIO(copies_by_kind[name]))
        copies_by_kind[f"{name}, then piece of 1 s, 10 dB quieter"] = encode(
            10**-0.5 * coded[excerpt]
        )
    return copies_by_kind


def search(store: WaveformStore) -> tuple[list, float]:
    began = time.perf_counter()
    pairs = near_duplicates(store)
    return pairs, time.perf_counter() - began


def margin(store: WaveformStore) -> dict:
    """Return the most similar pairs of different takes among those with similar fingerprints."""
    fingerprints = [fingerprint(clip, store.sampling_rate) for clip in store]
    different = [
        pair
        for pair in FingerprintSearch(fingerprints).similar_pairs()
        if store.content_hashes[pair.first] != store.content_hashes[pair.second]
    ]
    correlations = []
    for pair in different:
        match = compare_waveforms(
            store[pair.first],
            store[pair.second],
            sampling_rate=store.sampling_rate,
            offset=pair.offset,
        )
        correlations.append(match.correlation)
    return {
        "alike_by_fingerprint": len(different),
        "largest_correlation": max(correlations, default=None),
        "smallest_bit_error_rate": min((pair.bit_error_rate for pair in different), default=None),
    }


def measure(folder: Path, clips: int, cache: str) -> dict:
    files = sorted(str(path) for path in folder.rglob("*") if path.suffix in SUFFIXES)
    sources = [{"path": path, "bytes": None} for path in files]
    store = open_store(sources, RATE, cache)
    pairs, seconds = search(store)
    again = search(store)[1]
    same = [
        pair
        for pair in pairs
        if store.content_hashes[pair.first] == store.content_hashes[pair.second]
    ]
    names = [[Path(files[pair.first]).name, Path(files[pair.second]).name] for pair in pairs]
    result = {
        "corpus": folder.name,
        "clips": len(files),
        "audio_seconds": float(store.durations.sum()),
        "seconds": seconds,
        "seconds_cached": again,
        "pairs_identical_content": len(same),
        "pairs_else": len(pairs) - len(same),
        "pairs": names,
        "margin": margin(store),
    }
    rng = np.random.default_rng(0)
    # An excerpt of 1 s needs a clip of a second; CREMA-D has a clip of silence.
    long = [row for row in range(len(store)) if store.durations[row] >= 1 and store[row].any()]
    chosen = sorted(rng.choice(long, min(clips, len(long)), replace=False).tolist())
    original = list(range(len(files)))
    kinds = [""] * len(files)
    sizes = {}
    for row in chosen:
        for kind, data in copies(store[row], rng).items():
            sources.append({"path": None, "bytes": data})
            original.append(row)
            kinds.append(kind)
            if kind in ("mp3", "mp3, lowest rate", "vorbis"):
                sizes.setdefault(kind, []).append(8e-3 * len(data) / store.durations[row])
    pairs, seconds = search(open_store(sources, RATE, cache))
    errors_of_kind: dict[str, list[float]] = {kind: [] for kind in kinds if kind}
    for pair in pairs:
        if original[pair.second] == pair.first:
            errors_of_kind[kinds[pair.second]].append(pair.bit_error_rate)
    identical = {(pair.first, pair.second) for pair in same}
    families = {frozenset(pair) for pair in identical} | {frozenset([row]) for row in original}
    wrong = [
        pair
        for pair in pairs
        if frozenset([original[pair.first], original[pair.second]]) not in families
    ]
    result["planted"] = {
        "originals": len(chosen),
        "clips": len(sources),
        "seconds": seconds,
        "false_pairs": len(wrong),
        "median_kbit_per_s": {kind: float(np.median(rates)) for kind, rates in sizes.items()},
        "found": {
            kind: {
                "copies": len(chosen),
                "found": len(errors),
                "median_bit_error_rate": float(np.median(errors)) if errors else None,
            }
            for kind, errors in errors_of_kind.items()
        },
    }
    return result


def measure_scale(folders: list[Path], speeds: list[float], cache: str) -> dict:
    files = sorted(
        str(path) for folder in folders for path in folder.rglob("*") if path.suffix in SUFFIXES
    )
    store = open_store([{"path": path, "bytes": None} for path in files], RATE, cache)
    sources = [{"path": path, "bytes": None} for path in files]
    for speed in speeds:
        sources += [
            {"path": None, "bytes": encode(soxr.resample(clip, speed, 1.0))} for clip in store
        ]
    store = open_store(sources, RATE, cache)
    pairs, seconds = search(store)
    return {
        "clips": len(store),
        "audio_seconds": float(store.durations.sum()),
        "seconds": seconds,
        "pairs": len(pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--speeds", type=float, nargs="*", default=[0.87, 0.93, 1.07, 1.15])
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as cache:
        corpora = [measure(folder, options.clips, cache) for folder in options.folders]
        scale = measure_scale(options.folders, options.speeds, cache)
    result = {"corpora": corpora, "scale": scale, "environment": environment_section().to_dict()}
    target = Path(__file__).parent / "results" / "near_duplicates.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("corpora", "scale")}, indent=1))


if __name__ == "__main__":
    main()
