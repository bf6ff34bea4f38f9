"""Batch normalisation over several processes: one set of statistics for all of them."""

import torch
import torch.distributed as dist
from torch import nn

from ..errors import UserError
from ..models.layers import MaskedBatchNorm1d, MaskedBatchNorm2d


def synchronise_batch_norm(model: nn.Module, device: torch.device | None = None) -> int:
    """Has every batch normalisation in `model` count the clips of all processes; returns how many there are.

    Without it each process normalises by its own share of the batch, and the last step's running statistics are those
    of process 0. Ours are told (`synchronised`, on any device); stock ones in encoders become `nn.SyncBatchNorm`,
    which keeps their weights. With a single process nothing changes and 0 is returned. Call it on every process,
    before the model is wrapped for several; from then on all must run equally many training forwards.

    Args:
        device: where it will train; by default where its weights are now.

    Raises:
        UserError: if there are stock layers and the device is one for which `nn.SyncBatchNorm` does not exist.
    """
    if _processes() == 1:
        return 0
    masked, stock = [], []
    for name, module in model.named_modules():
        if isinstance(module, MaskedBatchNorm1d | MaskedBatchNorm2d):
            masked.append(module)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
            stock.append((name, module))
    device = next(model.parameters()).device if device is None else torch.device(device)
    if stock and device.type in ("cpu", "mps"):
        raise UserError(
            f"training.sync_batch_norm: {type(model).__name__} has torch's own batch normalisation ({stock[0][0]}), "
            f"which torch synchronises on GPUs only, not on {device.type!r}; set it to false"
        )
    for module in masked:
        module.synchronised = True
    for name, module in stock:
        model.set_submodule(name, nn.SyncBatchNorm.convert_sync_batchnorm(module))
    return len(masked) + len(stock)


@torch.no_grad()
def broadcast_buffers(model: nn.Module) -> None:
    """Gives every process the buffers of process 0, which are those that are saved.

    Running statistics differ between processes unless synchronised, and `DistributedDataParallel` evens them out at
    the next training forward only: until then each process would evaluate a model of its own. Call it on every
    process; with a single one nothing happens.
    """
    if _processes() == 1:
        return
    for buffer in model.buffers():
        sent = buffer.contiguous()
        dist.broadcast(sent, src=0)
        if sent is not buffer:
            buffer.copy_(sent)


def is_frozen(norm: nn.Module) -> bool:
    """Whether it has weights, and none of them learns: its statistics are to stay as they are too."""
    learning = [parameter.requires_grad for parameter in norm.parameters()]
    return bool(learning) and not any(learning)


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
