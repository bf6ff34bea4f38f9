"""Supervised contrastive learning: an extra term that pulls together what the classifier is given of one emotion."""

import torch
from torch import nn
from torch.nn.functional import normalize
from torch.utils.hooks import RemovableHandle

from ..errors import UserError


class SupervisedContrastive:
    """The supervised contrastive loss of Khosla et al. 2020 (arXiv:2004.11362), their L_out.

    Each clip i is an anchor; its positives P(i) are the other clips of its class, told from all other clips A(i). With
    embeddings z of length one and the temperature T its term is

        -1 / |P(i)| * sum over p in P(i) of log(exp(z_i z_p / T) / sum over a in A(i) of exp(z_i z_a / T))

    and the loss is the sum over the anchors that have a positive. The embedding is what the model's classifier is
    given; there is no projection beside it, and each clip is seen once, not in two views as in the paper.

    It compares the clips of one micro-batch on one device. In contrast to every other loss, accumulation and several
    processes change it: smaller micro-batches have fewer pairs.
    """

    def __init__(self, weight: float, temperature: float = 0.1):
        self.weight = weight
        self.temperature = temperature
        self._embeddings: torch.Tensor | None = None

    def listen(self, classifier: nn.Module) -> RemovableHandle:
        """Keeps what `classifier` is given (its first input, (batch, size)) in each forward pass, for the next call.

        Only where gradients are taken, so that evaluation leaves nothing behind. The module may be wrapped (DDP) or
        compiled later, and the layers before it may be checkpointed. A copy of it reports to the same listener. Remove
        the handle when training is over.
        """

        # Not a method: copying a module would copy a method's object along, and the copy would talk to nobody.
        def hear(module: nn.Module, inputs: tuple) -> None:
            self._embeddings = inputs[0] if torch.is_grad_enabled() else None

        return classifier.register_forward_pre_hook(hear)

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """The weighted sum over the anchors of the last forward pass, a scalar; the pass is forgotten.

        Args:
            ids: (batch,) class ids; clips at -100 are neither anchors nor positives nor told from.

        Raises:
            RuntimeError: if nothing was heard since the last call.
            UserError: if what was heard is not one vector for each clip.
        """
        embeddings, self._embeddings = self._embeddings, None
        if embeddings is None:
            raise RuntimeError("the contrastive loss has heard no classifier; listen(model.classifier) comes first")
        if embeddings.dim() != 2 or len(embeddings) != len(ids):
            raise UserError(
                f"training.loss.contrastive_weight: the classifier was given {tuple(embeddings.shape)} for {len(ids)} "
                "clips, not one vector for each; use 0 with this model, and torchrun for several GPUs"
            )
        return self.weight * supervised_contrastive(embeddings, ids, self.temperature)


def supervised_contrastive(embeddings: torch.Tensor, ids: torch.Tensor, temperature: float) -> torch.Tensor:
    """The loss above of `embeddings` (batch, size), of any length, and class ids (batch,), -100 for left out."""
    with torch.autocast(embeddings.device.type, enabled=False):
        directions = normalize(embeddings.float(), dim=1)
        similarity = directions @ directions.T / temperature
    others = (ids != -100) & ~torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    positives = others & (ids == ids[:, None])
    # The least number and not infinity: a clip without others would pass NaN backwards.
    rest = similarity.masked_fill(~others, torch.finfo(similarity.dtype).min).logsumexp(dim=1, keepdim=True)
    log_shares = torch.where(positives, similarity - rest, 0.0).sum(dim=1)
    return -(log_shares / positives.sum(dim=1).clamp(min=1)).sum()
