"""Networks for tests: fresh, with the statistics of a corpus, or a little trained."""

import json

import numpy as np
import torch
from signals import noise, ragged
from support.isolated import run_without_ser_hf
from support.testing import tiny_config

from ser_hf.models import ARCHITECTURES
from ser_hf.models.front_end import FeatureNorm

# Those that take waveforms; `test_modeling_functionals` tests the others.
NETWORKS = [
    name for name, kind in ARCHITECTURES.items() if not hasattr(kind.config_class, "feature_set")
]


def batch_of(*clips):
    waveforms, lengths = ragged(*clips)
    return {
        "input_values": waveforms,
        "attention_mask": (torch.arange(waveforms.shape[1]) < lengths[:, None]).long(),
    }


def built(name, tiny=True, corpus=None, **settings):
    """A fresh network with the statistics of a corpus, by default `batches`, in its front end."""
    torch.manual_seed(0)
    kind = ARCHITECTURES[name]
    config = tiny_config(name, **settings) if tiny else kind.config_class(num_labels=4, **settings)
    model = kind(config).eval()
    for norm in model.modules():
        if isinstance(norm, FeatureNorm) and norm.counts:
            norm.observing = True
            for batch in corpus or batches():
                model.front_end(batch["input_values"], batch["attention_mask"].sum(dim=1))
            norm.settle()
    return model


def batches():
    return [
        batch_of(*[noise(3000 + 4500 * i, seed=10 * step + i) for i in range(4)])
        for step in range(3)
    ]


def trainable(model):
    """Networks that only scikit-learn fits have no parameter with a gradient."""
    return any(parameter.requires_grad for parameter in model.parameters())


@torch.enable_grad()
def trained(model):
    """The network after a few steps, so that batch normalization has statistics."""
    if trainable(model):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        model.train()
        for batch in batches():
            model(**batch, labels=torch.arange(4)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


def probabilities_without_ser_hf(folder, waveforms, clips):
    """By model folder, probabilities of `pipeline` for its first clips, alone and in one batch, (2,
    clips, labels), in a process that can import neither ser_hf nor torchaudio nor scikit-learn.

    Args:
        clips: model folder -> number of clips.
    """
    np.savez(folder / "clips.npz", *waveforms)
    code = f"""
import json, numpy, transformers
transformers.utils.logging.set_verbosity_error()
clips = list(numpy.load("clips.npz").values())
predictions = {{}}
for name, count in {clips}.items():
    classify = transformers.pipeline("audio-classification", model=name, trust_remote_code=True)
    alone = [classify(clip, top_k=None) for clip in clips[:count]]
    together = classify(clips[:count], batch_size=3, top_k=None)
    predictions[name] = [
        [{{score["label"]: score["score"] for score in scores}} for scores in clip_scores]
        for clip_scores in (alone, together)
    ]
print(json.dumps(predictions))
"""
    predictions = json.loads(run_without_ser_hf(code, folder).splitlines()[-1])
    return {
        name: np.array(
            [[[scores[f"LABEL_{i}"] for i in range(4)] for scores in each] for each in both]
        )
        for name, both in predictions.items()
    }
