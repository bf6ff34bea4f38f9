"""Base class of the networks: waveform in, logits out, initial weights."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration import AcousticConfig
from .front_end import Derived


class AcousticClassifier(PreTrainedModel):
    """A waveform classifier: `front_end`, the network's own `embed`, and `classifier` on what it returns.

    A network makes these three and calls `post_init` last.

    Padding never changes an answer: `embed` gets a mask of the real frames and has to honour it.
    """

    config_class = AcousticConfig
    main_input_name = "input_values"
    # The Trainer multiplies the gradient of models that claim to normalise their own loss.
    accepts_loss_kwargs = False
    # Whatever the weights are loaded as: statistics and windows in half precision are wrong by decibels.
    _keep_in_fp32_modules_strict = ("front_end",)

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What `front_end` returns, (batch, frames, size) with its mask (batch, frames) -> (batch, embedding)."""
        raise NotImplementedError

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
        features, mask = self.front_end(*_clips(input_values, attention_mask))
        logits = self.classifier(self.embed(features.to(self.classifier.weight.dtype), mask))
        loss = None if labels is None else nn.functional.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """The library's default (normal, 0.02) would shrink activations layer by layer; each kind gets its own."""
        if isinstance(module, Derived):
            module.reset()
        elif isinstance(module, nn.Conv1d | nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
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


def _clips(waveform: torch.Tensor, attention_mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The waveform with silence for padding, and the clips' true lengths (batch,)."""
    if attention_mask is None:
        attention_mask = torch.ones_like(waveform, dtype=torch.long)
    # Normalising extractors may leave padding at a value other than zero.
    return waveform * attention_mask.to(waveform.dtype), attention_mask.sum(dim=1)


class ConvolutionalClassifier(AcousticClassifier):
    """Gives the classifier smaller weights to begin with.

    Max-pooled activations are all positive, so that with the usual weights their offsets add up: a fresh network's
    logits would be 2 to 4, and it sure of itself. Smaller weights keep it near an even guess.
    """

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self.classifier:
            init.xavier_uniform_(module.weight, gain=0.3)
