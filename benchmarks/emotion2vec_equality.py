"""Compare emotion2vec of ser_hf with the network of FunASR, with the same random weights.

    pip install --no-deps funasr omegaconf kaldiio antlr4-python3-runtime torch_complex
    python benchmarks/emotion2vec_equality.py [--results benchmarks/results]

For each size: FunASR's network gets random weights, its checkpoint is converted as `ser-hf
convert emotion2vec` does, and both encode the same clips. The figures are the largest differences
of hidden states in float32, as a share of the largest value of the state:

- `alone`: each clip alone.
- `padded`: ser_hf's states of each clip padded in a batch, against FunASR's states of the clip
  alone.
- `padded_alike`: both padded in a batch, where hooks keep the padding out of FunASR's convolutions
  for positions.
- `funasr_padding`: FunASR padded against FunASR alone, which is what its padding changes.

The result is benchmarks/results/emotion2vec_equality.json. FunASR is no dependency of ser_hf.
"""

import argparse
import contextlib
import json
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForAudioClassification

import ser_hf.models  # noqa: F401 - registers the network
from ser_hf.experiment.sections import environment_section
from ser_hf.loading.emotion2vec import LABELS, convert_emotion2vec

# Embedding, heads, lower and upper blocks. The sizes of base are those of its published
# configuration; those of large are data2vec 2.0's.
SIZES = {
    "tiny": {"embed": 96, "heads": 12, "lower": 1, "upper": 2},
    "tiny, norm first": {"embed": 96, "heads": 12, "lower": 1, "upper": 2, "norm_first": True},
    "tiny, scale in each layer": {
        "embed": 64,
        "heads": 4,
        "lower": 1,
        "upper": 2,
        "scale_per_layer": True,
    },
    "base": {"embed": 768, "heads": 12, "lower": 4, "upper": 8},
    "large": {"embed": 1024, "heads": 16, "lower": 8, "upper": 16},
}
SAMPLES = (40_000, 25_600, 16_123)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument(
        "--results", type=Path, default=Path(__file__).parent / "results", metavar="DIR"
    )
    options = parser.parse_args()

    target = options.results / "emotion2vec_equality.json"
    result = json.loads(target.read_text()) if target.is_file() else {"sizes": {}}
    for size in options.sizes:
        result["sizes"][size] = compare(**SIZES[size])
        result["funasr"] = version("funasr")
        result["environment"] = environment_section().to_dict()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(result, indent=1) + "\n")
        figures = ", ".join(f"{key} {value:.2g}" for key, value in result["sizes"][size].items())
        print(f"{size}: {figures}", flush=True)


@torch.no_grad()
def compare(embed: int, heads: int, lower: int, upper: int, **options: bool) -> dict[str, float]:
    """The largest differences for one size of the network."""
    theirs = funasr_network(embed, heads, lower, upper, **options)
    encoder, classifier = converted(theirs)
    clips = [0.1 * torch.randn(samples) + 0.02 for samples in SAMPLES]
    alone = [their_states(theirs, clip[None]) for clip in clips]

    differences = [
        largest(our_states(encoder, clip[None]), states)
        for clip, states in zip(clips, alone, strict=True)
    ]
    batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    mask = torch.arange(batch.shape[1]) < torch.tensor(SAMPLES)[:, None]
    ours = our_states(encoder, batch, mask.long())
    leaking = their_states(theirs, batch, mask)
    with padding_kept_out(theirs, alone):
        alike = their_states(theirs, batch, mask)

    padded = []
    padded_alike = []
    funasr_padding = []
    for i, states in enumerate(alone):
        frames = states[0].shape[1]
        own_row = [state[i : i + 1, :frames] for state in ours]
        padded.append(largest(own_row, states))
        padded_alike.append(largest(own_row, [state[i : i + 1, :frames] for state in alike]))
        funasr_padding.append(largest([state[i : i + 1, :frames] for state in leaking], states))
    logits = []
    for clip, states in zip(clips, alone, strict=True):
        their_logits = theirs.proj(states[-1].mean(dim=1))
        logits.append(largest([classifier(clip[None]).logits], [their_logits]))
    return {
        "parameters": sum(parameter.numel() for parameter in classifier.parameters()),
        "alone": max(differences),
        "padded": max(padded),
        "padded_alike": max(padded_alike),
        "funasr_padding": max(funasr_padding),
        "logits": max(logits),
    }


def funasr_network(
    embed: int,
    heads: int,
    lower: int,
    upper: int,
    norm_first: bool = False,
    scale_per_layer: bool = False,
) -> torch.nn.Module:
    """FunASR's network with random weights, in evaluation mode."""
    from funasr.models.emotion2vec.model import Emotion2vec

    audio = {
        "type": "AUDIO",
        "prenet_depth": lower,
        "prenet_layerdrop": 0.05,
        "prenet_dropout": 0.1,
        "start_drop_path_rate": 0.0,
        "end_drop_path_rate": 0.0,
        "num_extra_tokens": 10,
        "init_extra_token_zero": False,
        "local_grad_mult": 1.0,
        "use_alibi_encoder": True,
        "alibi_scale": 1.0,
        "learned_alibi": False,
        "learned_alibi_scale": True,
        "learned_alibi_scale_per_head": True,
        "learned_alibi_scale_per_layer": scale_per_layer,
        "num_alibi_heads": heads,
        "model_depth": upper,
        "extractor_mode": "layer_norm",
        "feature_encoder_spec": "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2",
        "conv_pos_width": 95,
        "conv_pos_groups": 16,
        "conv_pos_depth": 5,
        "conv_pos_pre_ln": False,
        "decoder": None,
    }
    settings = {
        "depth": upper,
        "embed_dim": embed,
        "num_heads": heads,
        "mlp_ratio": 4.0,
        "norm_eps": 1e-5,
        "norm_affine": True,
        "layer_norm_first": norm_first,
        "end_of_block_targets": True,
        "encoder_dropout": 0.1,
        "attention_dropout": 0.1,
        "activation_dropout": 0.0,
        "post_mlp_drop": 0.1,
        "dropout_input": 0.0,
        "start_drop_path_rate": 0.0,
        "end_drop_path_rate": 0.0,
        "layerdrop": 0.05,
        "normalize": True,
        "modalities": {"audio": audio},
    }
    torch.manual_seed(0)
    network = Emotion2vec(model_conf=settings, vocab_size=len(LABELS)).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "alibi_scale" in name:
                parameter.uniform_(0.2, 2)
            elif "norm" in name or parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def converted(network: torch.nn.Module) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The encoder and the classifier that `ser-hf convert` makes of FunASR's checkpoint."""
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, "model.pt")
        torch.save({"model": network.state_dict()}, file)
        folder = Path(temporary, "converted")
        convert_emotion2vec(file, folder)
        encoder = AutoModel.from_pretrained(folder).eval()
        classifier = AutoModelForAudioClassification.from_pretrained(folder).eval()
    return encoder, classifier


def our_states(
    encoder: torch.nn.Module, waveforms: torch.Tensor, mask: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """The hidden states of ser_hf's encoder, (batch, frames, size) each; the output is last."""
    output = encoder(waveforms, mask, output_hidden_states=True)
    return [*output.hidden_states[1:-1], output.last_hidden_state]


def their_states(
    network: torch.nn.Module, waveforms: torch.Tensor, mask: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """The hidden states of FunASR's network for waveforms as it standardizes them."""
    source = torch.zeros_like(waveforms)
    for i, waveform in enumerate(waveforms):
        real = slice(None) if mask is None else mask[i]
        clip = waveform[real]
        source[i, : len(clip)] = torch.nn.functional.layer_norm(clip, clip.shape)
    states: list[torch.Tensor] = []
    audio = network.modality_encoders["AUDIO"]
    tokens = audio.modality_cfg.num_extra_tokens

    def record(block: torch.nn.Module, inputs: Any, output: Any) -> None:
        states.append(output[0][:, tokens:])

    blocks = [*audio.context_encoder.blocks, *network.blocks]
    handles = [block.register_forward_hook(record) for block in blocks]
    try:
        output = network.extract_features(source, padding_mask=None if mask is None else ~mask)
    finally:
        for handle in handles:
            handle.remove()
    states[-1] = output["x"]
    return states


@contextlib.contextmanager
def padding_kept_out(network: torch.nn.Module, alone: list[list[torch.Tensor]]) -> Iterator[None]:
    """Set the padding to zero before each convolution for positions of FunASR's network."""

    def without_padding(convolution: torch.nn.Module, inputs: tuple) -> tuple:
        frames = inputs[0].clone()  # (batch, size, frames)
        for i, states in enumerate(alone):
            frames[i, :, states[0].shape[1] :] = 0
        return (frames,)

    encoder = network.modality_encoders["AUDIO"].relative_positional_encoder
    handles = []
    for module in encoder.modules():
        if isinstance(module, torch.nn.Conv1d):
            handles.append(module.register_forward_pre_hook(without_padding))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def largest(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """The largest difference of two lists of tensors, as a share of the tensor's largest value."""
    shares = []
    for our_state, their_state in zip(ours, theirs, strict=True):
        difference = (our_state - their_state).abs().max()
        shares.append((difference / their_state.abs().max()).item())
    return max(shares)


if __name__ == "__main__":
    main()
