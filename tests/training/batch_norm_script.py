"""Each process's share of some batches, layer by layer, in the process group that stands: see processes_script.py.

What process R finds goes to `R.pt` in the folder.
"""

import torch
import torch.distributed as dist
from torch import nn

from ser_hf.models.layers import ConvBlock, MaskedBatchNorm1d
from ser_hf.training.averaging import broadcast_buffers, synchronize_batch_norm
from ser_hf.utils.errors import UserError

# Real frames of the clips, by process.
CASES = {
    "ragged": [(9, 4, 6), (12, 5, 2)],
    "one without padding": [(9, 9, 9), (12, 2, 1)],
    "one with a single value": [(9, 4, 6), (1,)],
}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.norm = ConvBlock(1, 3, (1, 2), dropout=0.0), MaskedBatchNorm1d(6)
        # With a bias of zero the second norm would undo whatever the first one's weight does.
        nn.init.normal_(self.block.norm.bias)

    def forward(self, features, mask):
        picture, mask = self.block(features, mask)
        return self.norm(picture.transpose(2, 3).flatten(1, 2), mask)


def batch(lengths, step):
    """Features (batch, 1, frames, 4), what the output is pulled by, the mask; a clip's own whatever the batch."""
    features, pulls = [torch.zeros(len(lengths), *shape, max(lengths)) for shape in ((1, 4), (6,))]
    for row, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(100 * step + length)
        features[row, ..., :length] = 3 + length * torch.randn(1, 4, length, generator=generator)
        pulls[row, :, :length] = torch.randn(6, length, generator=generator)
    return features.transpose(2, 3), pulls, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def steps(lengths, wrap=lambda network: network, processes=1):
    """Two steps: outputs and gradients of the inputs by clip, gradients of the weights, and what is saved."""
    torch.manual_seed(0)
    network, clips = Network(), []
    model = wrap(network)
    for step in range(2):
        features, pull, mask = batch(lengths, step)
        features.requires_grad_()
        output = model(features, mask)
        (processes * (output * pull).sum()).backward()  # gradients are averaged over processes
        for row, length in enumerate(lengths):
            clips.append((output[row, :, :length].detach(), features.grad[row, :, :length] / processes))
    return {
        "clips": clips,
        "gradients": {name: parameter.grad for name, parameter in network.named_parameters()},
        "state": network.state_dict(),
    }


def synchronised(network):
    assert synchronize_batch_norm(network) == 2
    return nn.parallel.DistributedDataParallel(network)


def stock():
    """Of a kind that torch synchronises on GPUs only."""
    return nn.ModuleDict({"ours": MaskedBatchNorm1d(3), "encoder": nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))})


def refusal(device):
    model = stock()
    try:
        synchronize_batch_norm(model, device)
    except UserError as error:
        assert not model["ours"].synchronised
        return str(error)


def main(folder):
    rank = dist.get_rank()
    found = {case: steps(lengths[rank], synchronised, 2) for case, lengths in CASES.items()}

    model = stock()
    nn.init.normal_(model["encoder"][1].weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found["switched"] = synchronize_batch_norm(model, "cuda")
    found["kinds"] = [type(module).__name__ for module in model["encoder"]]
    found["kept"] = all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    found["refusals"] = [refusal(device) for device in (None, "mps")]

    model.register_buffer("flags", torch.tensor([rank == 0, rank == 1]))
    model.register_buffer("table", (10 * rank + torch.arange(6)).view(2, 3).t())
    model["ours"].running_mean.fill_(rank + 1)
    broadcast_buffers(model)
    found["buffers"] = dict(model.named_buffers())
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()
