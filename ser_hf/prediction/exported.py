"""An exported ONNX file as a model that is asked like any other: by onnxruntime, on waveforms as they were decoded."""

from types import SimpleNamespace

import torch
from torch import nn
from transformers import PreTrainedConfig, Wav2Vec2FeatureExtractor

from ..export.session import OnnxSession
from ..models.preparation import Preparation
from .expert import Expert


class ExportedConfig(PreTrainedConfig):
    """Of a file: its labels, and whether each has a probability of its own."""

    model_type = "onnx"


class ExportedExpert(Expert):
    """Preparation, extractor and network are in the file, so that nothing is done to a waveform before."""

    @property
    def padding_safe(self) -> bool:
        return bool(self.model.session.facts.get("padding_safe"))

    @property
    def encoder(self) -> bool:
        return False

    def window(self, asked: float | None = None) -> int | None:
        seconds = self.judged_window if asked is None else asked
        limits = (seconds, self.model.session.facts.get("longest_seconds"))
        return min((round(limit * self.extractor.sampling_rate) for limit in limits if limit), default=None)


class SessionModel(nn.Module):
    """Called as a network of transformers is."""

    def __init__(self, session: OnnxSession):
        super().__init__()
        self.session, self.device = session, torch.device("cpu")
        problem = "multi_label_classification" if session.multi_label else None
        self.config = ExportedConfig(id2label=dict(enumerate(session.labels)), problem_type=problem)

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        waveforms, mask = input_values.numpy(), attention_mask.numpy()
        if "quantized" in self.session.facts:
            # One range is taken of all activations of a batch, so that neighbours would change a clip's answer.
            logits = self.session.alone([waveforms[i, :length] for i, length in enumerate(mask.sum(axis=1))])
        else:
            logits = self.session.ask(waveforms, mask)[0]
        return SimpleNamespace(logits=torch.from_numpy(logits))


def exported_expert(path: str) -> Expert:
    """The file at `path`, written by `ser_hf.export.export_onnx`.

    Raises:
        UserError: naming the file, if it is none.
    """
    session = OnnxSession(path)
    extractor = Wav2Vec2FeatureExtractor(
        sampling_rate=session.sampling_rate, do_normalize=False, return_attention_mask=True
    )
    facts, folder = session.facts, str(session.path.parent)
    known = facts.get("revision"), facts.get("window_seconds"), folder
    return ExportedExpert(path, SessionModel(session).eval(), extractor, Preparation(), *known)
