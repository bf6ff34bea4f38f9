"""The table of encoders against transformers' own classes: names, and numbers measured on tiny
random models.
"""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from support.testing import CHECKPOINTS, tiny_config, write_checkpoint
from torch import nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    PreTrainedConfig,
)

from ser_hf.loading.encoders import encoder_entry, mask_valid, shortest_batch, shortest_clip
from ser_hf.utils.errors import UserError

RATE = 16000
LAYER = {"model_type": "wav2vec2", "feat_extract_norm": "layer"}
# The effect of settings, in addition to the published kinds.
ADAPTED = LAYER | {"add_adapter": True, "num_adapter_layers": 2}
ADAPTED_BERT = {
    "model_type": "wav2vec2-bert",
    "add_adapter": True,
    "use_intermediate_ffn_before_adapter": True,
}
ADAPTERS = {"wav2vec2 with adapter": ADAPTED, "wav2vec2-bert with adapter": ADAPTED_BERT}
OTHERS = ADAPTERS | {
    "hubert with batch norm": LAYER | {"model_type": "hubert", "conv_pos_batch_norm": True},
    "sew by layer norm": LAYER | {"model_type": "sew"},
    "sew that squeezes nothing": LAYER | {"model_type": "sew", "squeeze_factor": 1},
    "data2vec-audio with one positional layer": {
        "model_type": "data2vec-audio",
        "num_conv_pos_embeddings": 1,
    },
    "conformer that looks at one frame": LAYER
    | {"model_type": "wav2vec2-conformer", "conv_depthwise_kernel_size": 1},
    "conformer by group norm": {"model_type": "wav2vec2-conformer", "feat_extract_norm": "group"},
}
SPECAUGMENTED = [
    kind for kind in CHECKPOINTS if kind not in ("whisper", "audio-spectrogram-transformer")
]
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")


@dataclasses.dataclass(frozen=True)
class Kind:
    config: PreTrainedConfig
    extractor: object

    def classifier(self, **options):
        torch.manual_seed(0)
        self.config.update(options)
        return _varied(AutoModelForAudioClassification.from_config(self.config))

    def encoder(self):
        torch.manual_seed(0)
        model = _varied(AutoModel.from_config(self.config))
        return model.encoder if self.config.model_type == "whisper" else model

    def extract(self, *waveforms):
        """Clips in one batch; the samples of the first clip are single if the rest of its row is
        padding.
        """
        if self.config.model_type in ("whisper", "audio-spectrogram-transformer", "wav2vec2-bert"):
            return self.extractor(list(waveforms), sampling_rate=RATE, return_tensors="pt")
        longest = max(map(len, waveforms))
        rows = [np.pad(waveform, (0, longest - len(waveform))) for waveform in waveforms]
        masks = [np.arange(longest) < len(waveform) for waveform in waveforms]
        return {
            "input_values": torch.tensor(np.stack(rows)),
            "attention_mask": torch.tensor(np.stack(masks)).long(),
        }


def _varied(model):
    """Large weights, statistics and offsets, since zeros and ones would hide differences."""
    for parameter in model.parameters():
        parameter.data.add_((0.3 if parameter.dim() == 1 else 0.2) * torch.randn_like(parameter))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.fixture(scope="module")
def kind(tmp_path_factory):
    """A kind of `CHECKPOINTS`, or a dictionary of arguments, as it is read from a checkpoint."""

    @functools.cache
    def written(name):
        folder = tmp_path_factory.mktemp("checkpoint")
        return write_checkpoint(folder, **{**CHECKPOINTS, **OTHERS}[name])

    def read(name):
        folder = written(name)
        return Kind(
            AutoConfig.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder)
        )

    return read


def noise(samples, seed=0):
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_classifier_of_transformers_has_its_encoder_under_that_name(name, kind):
    tiny = kind(name)
    model = tiny.classifier()
    entry = encoder_entry(tiny.config)
    encoder = getattr(model, entry.name)
    assert type(encoder) is type(tiny.encoder())
    layers = encoder.get_submodule(entry.layers)
    assert isinstance(layers, nn.ModuleList)
    assert len(layers) == tiny.config.num_hidden_layers == 2
    for layer in layers:
        linear = [path for path, module in layer.named_modules() if isinstance(module, nn.Linear)]
        for target in entry.lora_targets:
            assert sum(path.rpartition(".")[2] == target for path in linear) == 1, target
    for stem in entry.stem:
        encoder.get_submodule(stem)


def test_an_unknown_kind_is_refused():
    with pytest.raises(
        UserError, match=r"model\.checkpoint: unknown encoder 'ser_crnn'; choose one of wav2vec2"
    ):
        encoder_entry(tiny_config("crnn"))


@pytest.mark.parametrize("name", [*CHECKPOINTS, *OTHERS])
def test_padding_changes_logits_only_of_the_listed_kinds(name, kind):
    """Clips with odd and even numbers of frames, padded to twice their length and more."""
    tiny = kind(name)
    adapted = getattr(tiny.config, "add_adapter", False)  # which transformers' classifiers refuse
    model = tiny.encoder() if adapted else tiny.classifier()
    gap = 0.0
    size = 0.0
    for frames in (10, 11):
        clip = noise(320 * frames + 200, frames)
        with torch.no_grad():
            alone, padded = (
                model(**tiny.extract(*clips))[0][0] for clips in ([clip], [clip, noise(15000)])
            )
        gap = max(gap, (padded[: len(alone)] - alone).abs().max().item())
        size = max(size, alone.abs().max().item())
    assert size > 0.05, "too small a signal"
    assert (gap < 1e-5) == mask_valid(tiny.config), gap
    assert gap < 1e-5 or gap > 1e-4


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:Degrees of freedom")
@pytest.mark.parametrize(
    "name", [*(kind for kind in CHECKPOINTS if kind != "whisper"), "sew that squeezes nothing"]
)
def test_the_shortest_clip_is_processed_and_one_sample_less_is_not(name, kind):
    tiny = kind(name)
    model = tiny.classifier()
    least = shortest_clip(tiny.config)

    def processed(samples):
        """wav2vec2-bert's extractor makes NaN of one frame."""
        batch = tiny.extract(noise(samples))
        with torch.no_grad():
            return all(
                values.isfinite().all() for values in [*batch.values(), model(**batch).logits]
            )

    def fails(samples):
        try:
            return not processed(samples)
        except (RuntimeError, AssertionError):
            # of a convolution, a pooling; of torchaudio's frames
            return True

    assert processed(least)
    assert fails(least - 1)


@pytest.mark.parametrize("name", SPECAUGMENTED)
def test_the_shortest_batch_has_room_for_a_span_of_specaugment(name, kind):
    tiny = kind(name)
    model = tiny.classifier(mask_time_length=4, mask_time_prob=0.5).train()
    least = shortest_batch(tiny.config)
    model(**tiny.extract(noise(least)))
    with pytest.raises(ValueError, match="mask_length"):
        model(**tiny.extract(noise(least - 1)))
    tiny.config.mask_time_prob = 0.0
    assert shortest_batch(tiny.config) == 0
    tiny.config.update({"mask_time_prob": 0.5, "apply_spec_augment": False})
    assert shortest_batch(tiny.config) == 0
