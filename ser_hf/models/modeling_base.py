"""Base class of the networks: waveform in, logits out, initial weights."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration import WaveformConfig
from .layers import loss_of
from .spectra import DerivedBuffers


class AcousticClassifier(PreTrainedModel):
    """A waveform classifier: `front_end`, the network's own `embed`, and `classifier` on the
    embedding.

    A network makes these three and calls `post_init` last. Padding never changes a prediction.
    """

    config_class = WaveformConfig
    main_input_name = "input_values"
    # The Trainer multiplies the gradient of models that claim to normalize their own loss.
    accepts_loss_kwargs = False
    # In half precision, statistics and windows would be wrong by decibels.
    _keep_in_fp32_modules_strict = ("front_end",)
    # Scale of the classifier's initial weights; 0.3 where activations are all positive and add up,
    # for small logits.
    classifier_gain = 1.0

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Compute one vector per clip.

        Args:
            features: (batch, frames, size), the output of `front_end`.
            mask: (batch, frames) bool, true for the real frames of a clip.

        Returns:
            (batch, embedding), the input of `classifier`.
        """
        raise NotImplementedError

    def forward(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Classify waveforms.

        Args:
            input_values: (batch, samples) float32 at the configuration's sampling rate, full scale
                at 1.
            attention_mask: (batch, samples), 1 for the clip and 0 for the padding after it; all
                real when absent.
            labels: (batch,) class ids, or (batch, dimensions) targets.

        Returns:
            `logits` (batch, labels), and `loss`, see `layers.loss_of`, if `labels` are given.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_values, dtype=torch.long)
        # Normalizing extractors may leave padding at a value other than zero.
        waveform = input_values * attention_mask.to(input_values.dtype)
        lengths = attention_mask.sum(dim=1)
        dtype = self.classifier.weight.dtype
        speeds = () if self.training else range(len(getattr(self.config, "test_speeds", ())))
        views = [self.front_end(waveform, lengths, speed) for speed in speeds] or [
            self.front_end(waveform, lengths)
        ]
        vectors = [self.embed(features.to(dtype), mask) for features, mask in views]
        logits = self.classifier(
            vectors[0] if len(vectors) == 1 else torch.stack(vectors).mean(dim=0)
        )
        loss = None if labels is None else loss_of(self.config, logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialize by kind of layer: the library's default (normal, 0.02) shrinks activations."""
        if isinstance(module, DerivedBuffers):
            module.reset()
        elif isinstance(module, nn.LSTM):
            for name, parameter in module.named_parameters():
                if "weight_ih" in name:
                    init.xavier_uniform_(parameter)
                elif "weight_hh" in name:
                    init.orthogonal_(parameter)
                else:
                    init.zeros_(parameter)
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            if isinstance(module, nn.Linear):
                init.xavier_uniform_(module.weight)
            else:
                init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)
        if (
            module is self.classifier
            and isinstance(module, nn.Linear)
            and self.classifier_gain != 1.0
        ):
            init.xavier_uniform_(module.weight, gain=self.classifier_gain)
