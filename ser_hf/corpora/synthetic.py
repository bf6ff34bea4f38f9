"""Synthetic: a built-in corpus of speech-like signals that needs no files (see `synthetic_voice` for the signals).

Any number of speakers, half of them female, say six invented sentences in six emotions. Made for trying the toolkit,
for tests and for controls; a model trained on it knows nothing of real speech.

Licence: CC0 1.0. File names: `s03_angry_007.wav` is speaker, emotion, take.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from tqdm.auto import tqdm

from ..cache import built_once, cache_root, key_of
from ..errors import UserError
from .schema import Clip, Listing
from .synthetic_voice import EMOTIONS, GENERATOR_VERSION, SENTENCES, utterance, voice

LICENSE = "cc0-1.0"
LANGUAGE = None
TITLE = "Synthetic"
URL = None
CITATION = None
ACTED = False

SAMPLING_RATE = 16000
GRAMMAR = re.compile(r"s(?P<speaker>\d+)_(?P<emotion>[a-z]+)_(?P<take>\d+)")


def parse(
    root: str | Path | None = None,
    on_unknown: Literal["error", "skip"] = "error",
    speakers: int = 24,
    takes: int = 8,
    seed: int = 0,
    shuffle_labels: bool = False,
) -> Listing:
    """Generates the clips once (below `root`, or in the cache) and lists them.

    Args:
        speakers: number of speakers; even numbers are balanced by sex.
        takes: clips per speaker and emotion.
        seed: of the voices and of every random detail; the same arguments give the same samples.
        shuffle_labels: exchanges the labels among each speaker's clips: a control on which nothing can be learnt.
    """
    if speakers < 3 or takes < 1:
        raise UserError(f"corpus.speakers and corpus.takes: at least 3 and 1, got {speakers} and {takes}")
    if seed < 0:
        raise UserError(f"corpus.seed: at least 0, got {seed}")
    settings = {"generator": GENERATOR_VERSION, "speakers": speakers, "takes": takes, "seed": seed}
    folder = (Path(root) if root is not None else cache_root() / "synthetic") / key_of(settings)
    with built_once(folder) as fresh:
        if fresh is not None:
            _write(fresh, speakers, takes, seed)
    clips = [_clip(path, seed) for path in sorted(folder.glob("*.wav"))]
    return Listing("synthetic", _shuffled(clips, seed) if shuffle_labels else clips)


def _write(folder: Path, speakers: int, takes: int, seed: int) -> None:
    jobs = [(s, emotion, take) for s in range(speakers) for emotion in EMOTIONS for take in range(takes)]
    for speaker, emotion, take in tqdm(jobs, desc="generating speech", unit="clip", disable=None):
        samples = utterance(speaker, emotion, take, seed, SAMPLING_RATE)
        soundfile.write(folder / f"s{speaker:02d}_{emotion}_{take:03d}.wav", samples, SAMPLING_RATE, subtype="PCM_16")


def _clip(path: Path, seed: int) -> Clip:
    fields = GRAMMAR.fullmatch(path.stem)
    speaker, take = int(fields["speaker"]), int(fields["take"])
    return Clip(
        path=str(path),
        emotion=fields["emotion"],
        speaker=f"synthetic:{fields['speaker']}",
        id=f"synthetic/{path.stem}",
        sex=voice(speaker, seed).sex,
        sentence=f"sentence {take % len(SENTENCES) + 1}",
        take=take,
    )


def _shuffled(clips: list[Clip], seed: int) -> list[Clip]:
    """The clips with emotions permuted within each speaker, so that class and speaker counts stay as they were."""
    generator = np.random.default_rng(seed)
    shuffled = list(clips)
    for speaker in sorted({clip.speaker for clip in clips}):
        own = [i for i, clip in enumerate(clips) if clip.speaker == speaker]
        for i, j in zip(own, generator.permutation(own), strict=True):
            shuffled[i] = replace(clips[i], emotion=clips[j].emotion)
    return shuffled
