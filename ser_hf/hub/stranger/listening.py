"""What a classifier answers: to clips, and to what clips may be beside that."""

import math

from place import Refused
from words import first_line, told


def heard(path):
    """A recording as a card's snippet reads it, by sampling rate."""
    from transformers.audio_utils import load_audio

    try:
        load_audio(path)
    except Exception as error:
        raise Refused("recording", f"{path}: {first_line(error)}") from None
    return lambda sampling_rate: load_audio(path, sampling_rate=sampling_rate)


def listen(classifier, recordings, waveforms, stereo):
    """Answers to clips, and to what clips may be beside that; {"logits", "sum"} of each, or the "error"."""
    import numpy as np

    rate = classifier.feature_extractor.sampling_rate
    clips = [read(rate) for read in recordings] + [np.load(path) for path in waveforms]
    loudest = max(clips, key=lambda clip: float(np.abs(clip).max(initial=0)))
    kept = []
    hook = classifier.model.register_forward_hook(lambda module, given, output: kept.append(output.logits))
    half = loudest[: max(1, len(loudest) // 2)]
    others = {
        "silence": lambda: np.zeros(rate, np.float32),
        "short": lambda: loudest[: rate // 10],
        "long": lambda: np.resize(loudest, 30 * rate),
        "stereo": lambda: heard(stereo)(rate),
    }
    answers = [ask(classifier, lambda clip=clip: clip, kept) for clip in clips]
    found = {"answers": answers, "others": {name: ask(classifier, make, kept) for name, make in others.items()}}
    alone = ask(classifier, lambda: half, kept)
    padded = ask(classifier, lambda: [half, loudest], kept, batch_size=2)
    hook.remove()
    if "error" in padded or "error" in alone:
        return found | {"padding": {"error": padded.get("error") or alone["error"]}}
    gaps = [abs(a - b) for a, b in zip(alone["logits"], padded["logits"], strict=True)]
    return found | {"padding": {"difference": max(gaps), "scale": max(map(abs, alone["logits"]))}}


def ask(classifier, make, kept, **options):
    """The logits, of the first of several clips, and what its probabilities add up to."""
    kept.clear()
    try:
        scores = classifier(make(), top_k=None, **options)
        logits = kept[0][0].float().tolist()
    except (Exception, SystemExit) as error:
        return {"error": told(error)}
    scores = scores[0] if isinstance(scores[0], list) else scores
    total = sum(item["score"] for item in scores)
    return {"logits": logits, "sum": total, "finite": all(map(math.isfinite, [*logits, total]))}
