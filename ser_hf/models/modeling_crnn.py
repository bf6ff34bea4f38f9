"""CRNN: log-mel front end, convolutional blocks, bidirectional LSTM, pooling, classifier.

The layout of Choi et al. 2017 (arXiv:1609.04243) as speech emotion notebooks use it: convolutions see local spectral
shape, the LSTM the contour of the utterance. Waveform in, logits out; padding never changes an answer.
"""

import math

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_crnn import CRNNConfig
from .log_mel import LogMel, mel_ceiling, normalize_per_clip, spec_augment
from .masked_layers import BiLSTM, ConvBlock, Pooling

# Typical mean and deviation of log-mel values in recorded speech, for `normalization="fixed"`. One pair for every
# corpus: only the scale that the first convolution sees depends on it.
SPEECH_LOG_MEL = (-12.0, 5.0)


class CRNNForAudioClassification(PreTrainedModel):
    config_class = CRNNConfig
    main_input_name = "input_values"
    # The Trainer multiplies the gradient of models that claim to normalise their own loss.
    accepts_loss_kwargs = False

    def __init__(self, config: CRNNConfig):
        super().__init__(config)
        self.front_end = LogMel(
            config.sampling_rate,
            config.n_fft,
            config.win_length,
            config.hop_length,
            config.n_mels,
            config.f_min,
            mel_ceiling(config.sampling_rate, config.f_max),
            min_frames=math.prod(config.time_pooling),
        )
        widths = [1, *config.channels]
        pools = zip(config.time_pooling, config.band_pooling, strict=True)
        self.blocks = nn.ModuleList(
            ConvBlock(widths[i], widths[i + 1], pool, config.conv_dropout) for i, pool in enumerate(pools)
        )
        bands = config.n_mels
        for factor in config.band_pooling:
            bands //= factor
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = BiLSTM(bands * config.channels[-1], config.lstm_hidden, config.lstm_layers, config.dropout)
        self.pooling = Pooling(config.pooling, 2 * config.lstm_hidden)
        self.classifier = nn.Linear(self.pooling.output_size, config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """The library's default (normal, 0.02) would shrink activations block by block; each kind gets its own."""
        if isinstance(module, LogMel):
            module.reset()
        elif isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.LSTM):
            for name, parameter in module.named_parameters():
                if "weight_ih" in name:
                    init.xavier_uniform_(parameter)
                elif "weight_hh" in name:
                    init.orthogonal_(parameter)
                else:
                    init.zeros_(parameter)
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)

    def forward(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Classifies waveforms.

        Args:
            input_values: (batch, samples) float32 at the configuration's rate.
            attention_mask: (batch, samples), 1 where the clip is and 0 where padding follows; all real when absent.
            labels: (batch,) class ids; the loss is then the mean cross entropy.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_values, dtype=torch.long)
        lengths = attention_mask.sum(dim=1)
        # Normalising extractors may leave padding at a value other than zero.
        features, mask = self.front_end(input_values * attention_mask.to(input_values.dtype), lengths)
        features = self._normalize(features, mask)
        if self.training:
            features = spec_augment(
                features,
                mask,
                self.config.time_masks,
                self.config.time_width,
                self.config.band_masks,
                self.config.band_width,
            )
        features = features[:, None].to(self.classifier.weight.dtype, memory_format=torch.channels_last)
        for block in self.blocks:
            features, mask = block(features, mask)
        sequence = features.transpose(1, 2).flatten(2)
        sequence = self.lstm(self.dropout(sequence), mask)
        logits = self.classifier(self.dropout(self.pooling(sequence, mask)))
        loss = None if labels is None else nn.functional.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _normalize(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.config.normalization == "clip":
            return normalize_per_clip(features, mask)
        mean, deviation = SPEECH_LOG_MEL
        return (features - mean) / deviation * mask[:, :, None]
