"""Base class of the networks: waveform in, logits out, initial weights."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration import WaveformConfig
from .spectra import DerivedBuffers
from .target_heads import TargetHeads


class AcousticClassifier(TargetHeads, PreTrainedModel):
    """A waveform classifier: `front_end`, then `embed`, then `classifier` on the embedding.

    A network sets `front_end` and `classifier`, overrides `embed`, and calls `post_init` at the end
    of its `__init__`. Padding never changes a prediction.
    """

    config_class = WaveformConfig
    main_input_name = "input_values"
    # The Trainer multiplies the gradient of models that claim to normalize their own loss.
    accepts_loss_kwargs = False
    # In half precision, statistics and windows would be wrong by decibels.
    _keep_in_fp32_modules_strict = ("front_end",)
    # Scale of the classifier's initial weights. It is 0.3 where the embedding is all positive and
    # adds up, so that the first logits are small.
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
            attention_mask: (batch, samples), 1 for the clip and 0 for the padding after it; if
                absent, all samples belong to the clip.
            labels: (batch,) class ids, or (batch, dimensions) targets.

        Returns:
            `logits` (batch, labels), and `loss` if `labels` are given; see
            `layers.classifier_output`. With several targets also the outputs of `TargetsOutput`.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_values, dtype=torch.long)
        # Normalizing extractors may leave padding at a value other than zero.
        waveform = input_values * attention_mask.to(input_values.dtype)
        return self.classify(waveform, attention_mask.sum(dim=1), labels)

    def classify(
        self, waveform: torch.Tensor, lengths: torch.Tensor, labels: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Classify waveforms as `forward`, by the lengths of clips instead of a mask.

        Args:
            waveform: (batch, samples) float32, zero beyond each clip.
            lengths: (batch,) samples of each clip.
            labels: see `forward`.
        """
        return self.targets_output(self._embed_waveform(waveform, lengths), labels)

    def post_init(self) -> None:
        """Add the heads of further targets, and initialize all weights."""
        self.add_target_heads()
        super().post_init()

    def _embed_waveform(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Embed waveforms: (batch, samples), lengths (batch,) -> (batch, embedding).

        Outside training the embedding is the mean over `test_speeds` of the configuration, if there
        are any.
        """
        speeds = getattr(self.config, "test_speeds", ())
        if self.training or len(speeds) == 0:
            views = [self.front_end(waveform, lengths)]
        else:
            views = [self.front_end(waveform, lengths, speed) for speed in range(len(speeds))]
        dtype = self.classifier.weight.dtype
        vectors = [self.embed(features.to(dtype), mask) for features, mask in views]
        if len(vectors) == 1:
            return vectors[0]
        return torch.stack(vectors).mean(dim=0)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialize a layer by its kind: the default of transformers would shrink activations."""
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
