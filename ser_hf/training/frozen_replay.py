"""Stand-ins for what is frozen: a model's own forward pass, given what was kept in place of what would be computed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling

from ..models.front_end import LogMel, warp_bands
from .encoders import encoder_config
from .frozen_parts import FrozenPart, hears_waveforms, squeezes

# What a batch holds beside the inputs of the model: states (batch, states, frames, size), how many frames each clip
# has of them (batch,), and how much of the inputs is the clip's (batch,).
STATES, FRAMES, REAL = "frozen_states", "frozen_frames", "frozen_real"
_FRAME_MASK = "_get_feature_vector_attention_mask"


class Loan:
    """What stand-ins give in the forward pass at hand."""

    def __init__(self):
        self.states = self.frames = self.real = self.mask = None

    def take(self, module: nn.Module, given: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """A hook before the model's forward pass, which knows nothing of what is kept.

        Nothing is given back after it: with gradient checkpointing layers are run again in the backward pass.
        """
        named = dict(named)
        self.states, self.frames, self.real = named.pop(STATES).float(), named.pop(FRAMES), named.pop(REAL)
        self.mask = named.get("attention_mask")
        return given, named

    @property
    def frame_mask(self) -> torch.Tensor:
        """(batch, frames) bool, true where a frame is of the clip."""
        return torch.arange(self.states.shape[2], device=self.frames.device) < self.frames[:, None]


class StandIn(nn.Module):
    """A module without weights whose forward pass is a function."""

    def __init__(self, answer: Callable, like: nn.Module | None = None):
        super().__init__()
        self.answer = answer
        if hasattr(like, "stride"):  # which Whisper asks its convolutions for
            self.stride = like.stride

    def forward(self, *given: Any, **named: Any) -> Any:
        return self.answer(*given, **named)


class Replay:
    """Puts stand-ins into a model, and the modules that they stand for back.

    What is left in the model has the names it had; only tensors of modules that are replaced are missing from its
    checkpoints.
    """

    def __init__(self, model: PreTrainedModel, part: FrozenPart):
        self.model, self.part, self.loan = model, part, Loan()
        self._replaced: dict[str, nn.Module] = {}
        self._handles: list[Any] = [model.register_forward_pre_hook(self.loan.take, with_kwargs=True)]
        self._overridden: list[tuple[nn.Module, str]] = []
        if hasattr(model, _FRAME_MASK):
            # Heads of transformers count the frames of the stem, which are not always those that they are given (SEW).
            self._override(model, _FRAME_MASK, partial(_frame_mask, loan=self.loan, of=getattr(model, _FRAME_MASK)))
        {
            "encoder": self._encoder,
            "layers": self._layers,
            "stem": self._stem,
            "network": self._network,
            "features": self._features,
        }[part.kind]()

    def restore(self) -> None:
        """Puts everything back as it was; the model is whole, on the device that it is on."""
        device = self.model.device
        for handle in self._handles:
            handle.remove()
        for name, module in self._replaced.items():
            self.model.set_submodule(name, module)
        for module, name in self._overridden:
            delattr(module, name)
        self.model.to(device)
        self._replaced, self._handles, self._overridden = {}, [], []

    def _override(self, module: nn.Module, name: str, by: Callable) -> None:
        """A method of this one instance."""
        setattr(module, name, by)
        self._overridden.append((module, name))

    def _replace(self, name: str, by: nn.Module) -> nn.Module:
        self._replaced[name] = self.model.get_submodule(name)
        self.model.set_submodule(name, by)
        return self._replaced[name]

    def _encoder(self) -> None:
        config = self.model.config
        kind = encoder_config(config).model_type
        encoder = self.model.get_submodule(self.part.module)
        upsampled = config.model_type == "ser_encoder" and squeezes(config) and self.part.states > 1
        answers = {"audio-spectrogram-transformer": _spectrogram_output}
        answer = partial(_upsampled_output, encoder=encoder) if upsampled else answers.get(kind, _encoder_output)
        stand_in = StandIn(partial(answer, loan=self.loan))
        if hears_waveforms(config):
            # Our head asks its encoder which frames are real.
            of = getattr(encoder, _FRAME_MASK)
            setattr(stand_in, _FRAME_MASK, of if upsampled else partial(_frame_mask, loan=self.loan, of=of))
        if upsampled:
            # Our head has its layers, once summed, brought to one state a frame by the encoder.
            stand_in.encoder = nn.Module()
            stand_in.encoder.upsample = encoder.encoder.upsample
        self._replace(self.part.module, stand_in)

    def _layers(self) -> None:
        part, where = self.part, self.part.where
        encoder, kind = self.model.get_submodule(where.encoder), encoder_config(self.model.config).model_type
        self._below(encoder, kind)
        for i, name in enumerate(where.layers[: part.lowest]):
            if i == part.lowest - 1 == len(where.layers) - 1:
                answer = partial(_top, loan=self.loan, tuples=kind == "wavlm")
            elif kind == "wavlm":
                answer = _with_bias
            else:
                answer = _first
            stand_in = StandIn(answer)
            if kind == "wavlm" and i == 0:
                # Its layers share a bias by position, which the lowest computes of weights of its own.
                stand_in.attention = self.model.get_submodule(name).attention
                stand_in.answer = partial(_with_new_bias, stand_in.attention, answer)
            self._replace(name, stand_in)
        if part.lowest < len(where.layers):
            layer = self.model.get_submodule(where.layers[part.lowest])
            self._handles.append(layer.register_forward_pre_hook(self._enter))
        if part.states > 1:
            tied = kind == "whisper"  # whose last hidden state is the one with the encoder's norm
            self._handles.append(
                encoder.register_forward_hook(partial(_add_lower, loan=self.loan, part=part, tied=tied))
            )

    def _enter(self, layer: nn.Module, given: tuple) -> tuple:
        return self.loan.states[:, -1], *given[1:]

    def _below(self, encoder: nn.Module, kind: str) -> None:
        """Cheap stand-ins for all below the layers that takes long; only shapes count."""
        prefix = self.part.where.encoder
        if kind == "audio-spectrogram-transformer":
            self._replace(f"{prefix}.embeddings", StandIn(partial(_entering, loan=self.loan)))
            return
        if kind == "whisper":
            self._convolutions(lambda states: torch.zeros_like(states))
            return
        self._override(encoder, "_mask_hidden_states", _unchanged)
        if hears_waveforms(self.model.config):
            frames = partial(_stem_zeros, encoder=encoder, loan=self.loan)
            self._replace(self.part.where.stem[-1], StandIn(frames))
            squeezing = encoder.config.squeeze_factor if squeezes(self.model.config) else None
            self._replace(f"{prefix}.encoder.pos_conv_embed", StandIn(partial(_positions, squeezing=squeezing)))
            self._handles.append(encoder.register_forward_pre_hook(self._mask, with_kwargs=True))

    def _mask(self, encoder: nn.Module, given: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """What was kept is of clips alone: padding is hidden from the layers, where the encoder learnt without too."""
        return given, named | {"attention_mask": self.loan.mask}

    def _convolutions(self, of: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Whisper's, the second of which gives the states, (batch, size, frames)."""
        first, second = self.part.where.stem
        self._replace(first, StandIn(_first, self.model.get_submodule(first)))
        answer = partial(_turned, loan=self.loan, of=of)
        self._replace(second, StandIn(answer, self.model.get_submodule(second)))

    def _stem(self) -> None:
        kind = encoder_config(self.model.config).model_type
        if kind == "whisper":
            self._convolutions(lambda states: states)
        elif kind == "audio-spectrogram-transformer":
            self._replace(self.part.module, StandIn(partial(_entering, loan=self.loan)))
        else:
            self._replace(self.part.module, StandIn(partial(_turned, loan=self.loan, of=lambda states: states)))
            encoder = self.model.get_submodule(self.part.where.encoder)
            self._handles.append(encoder.register_forward_pre_hook(self._mask, with_kwargs=True))

    def _network(self) -> None:
        self._replace("front_end", StandIn(partial(_nothing_heard, loan=self.loan)))
        self._replace(self.part.module, StandIn(partial(_encoded, loan=self.loan, pooled=self.part.pooled)))

    def _features(self) -> None:
        module = self.model.get_submodule(self.part.module)
        stand_in = StandIn(partial(_frames, loan=self.loan))
        if isinstance(module, LogMel) and module.config.band_warp:
            stand_in.source = module
            stand_in.answer = partial(_warped, stand_in, loan=self.loan, most=module.config.band_warp)
        self._replace(self.part.module, stand_in)


def _frame_mask(count: int, mask: torch.Tensor, *more: Any, loan: Loan, of: Callable) -> torch.Tensor:
    return loan.frame_mask if count == loan.states.shape[2] else of(count, mask, *more)


def _encoder_output(*given: Any, loan: Loan, **named: Any) -> BaseModelOutput:
    states = loan.states.unbind(dim=1)
    return BaseModelOutput(last_hidden_state=states[-1], hidden_states=states)


def _upsampled_output(*given: Any, encoder: PreTrainedModel, loan: Loan, **named: Any) -> BaseModelOutput:
    """Of the last hidden state only the shape counts."""
    states = loan.states.unbind(dim=1)
    frames = _stem_frames(encoder, loan)
    return BaseModelOutput(
        last_hidden_state=states[0].new_zeros(()).expand(len(states[0]), frames, states[0].shape[2]),
        hidden_states=states,
    )


def _spectrogram_output(*given: Any, loan: Loan, **named: Any) -> BaseModelOutputWithPooling:
    states = loan.states.unbind(dim=1)
    pooled = (states[-1][:, 0] + states[-1][:, 1]) / 2
    return BaseModelOutputWithPooling(last_hidden_state=states[-1], pooler_output=pooled, hidden_states=states)


def _stem_frames(encoder: PreTrainedModel, loan: Loan) -> int:
    """Frames that the stem makes of the longest clip."""
    return int(encoder._get_feat_extract_output_lengths(loan.real.max()))


def _entering(*given: Any, loan: Loan, **named: Any) -> torch.Tensor:
    return loan.states[:, -1]


def _turned(*given: Any, loan: Loan, of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    return of(loan.states[:, -1]).transpose(1, 2)


def _first(hidden: torch.Tensor, *given: Any, **named: Any) -> torch.Tensor:
    return hidden


def _with_bias(
    hidden: torch.Tensor, *given: Any, position_bias: torch.Tensor | None = None, **named: Any
) -> tuple[torch.Tensor, torch.Tensor | None]:
    return hidden, position_bias


def _with_new_bias(attention: nn.Module, answer: Callable, hidden: torch.Tensor, *given: Any, **named: Any):
    frames = hidden.shape[1]
    bias = attention.compute_bias(frames, frames).repeat(len(hidden), 1, 1)  # as WavLM's own attention does
    return answer(hidden, *given, **named | {"position_bias": bias})


def _top(*given: Any, loan: Loan, tuples: bool, position_bias: torch.Tensor | None = None, **named: Any) -> Any:
    """What leaves the highest layer, where all are frozen."""
    return (loan.states[:, -1], position_bias) if tuples else loan.states[:, -1]


def _stem_zeros(*given: Any, encoder: PreTrainedModel, loan: Loan) -> torch.Tensor:
    frames = _stem_frames(encoder, loan) if squeezes(encoder.config) else loan.states.shape[2]
    return loan.states.new_zeros(len(loan.states), encoder.config.conv_dim[-1], frames)


def _positions(hidden: torch.Tensor, squeezing: int | None) -> torch.Tensor:
    """(batch, frames, size) -> zeros of that shape; where frames are squeezed, (batch, size, frames) -> fewer."""
    return torch.zeros_like(hidden if squeezing is None else hidden[:, :, : hidden.shape[2] // squeezing])


def _unchanged(hidden_states: torch.Tensor, **named: Any) -> torch.Tensor:
    return hidden_states


def _add_lower(
    encoder: nn.Module, given: tuple, outputs: BaseModelOutput, *, loan: Loan, part: FrozenPart, tied: bool
) -> BaseModelOutput:
    """Hidden states that no layer has been asked for go before those that were computed."""
    computed = tuple(outputs.hidden_states or ())
    lower = loan.states.unbind(dim=1)
    if computed:
        lower = lower[: part.lowest]
    elif tied:
        lower = (*lower[:-1], outputs.last_hidden_state)
    outputs["hidden_states"] = (*lower, *computed)
    return outputs


def _nothing_heard(*given: Any, loan: Loan) -> tuple[torch.Tensor, torch.Tensor]:
    return loan.states.new_zeros(len(loan.states), 1, 1), loan.frame_mask


def _encoded(*given: Any, loan: Loan, pooled: bool) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    return loan.states[:, 0, 0] if pooled else _frames(loan=loan)


def _frames(*given: Any, loan: Loan) -> tuple[torch.Tensor, torch.Tensor]:
    return loan.states[:, 0], loan.frame_mask


def _warped(stand_in: StandIn, *given: Any, loan: Loan, most: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Bands warped at random in training, as `LogMel` does to what it has computed."""
    spectrum, mask = _frames(loan=loan)
    if stand_in.training:
        spectrum = warp_bands(spectrum, stand_in.source.centers.float(), most)
    return spectrum, mask
