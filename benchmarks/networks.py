"""Measure parameters, multiply-adds per second of audio and milliseconds per clip of each network
on one CPU core.

    OMP_NUM_THREADS=1 python benchmarks/networks.py [NAME ...] [--seconds 3] [--batch 16] [--repeats
    7] [--readme]

The networks have their default options and eight classes. The front end is included. `forward` is a
pass in evaluation mode without gradients; `backward` is the backward pass of a training step. Times
are medians over the repeats, divided by the clips of a batch. Multiply-adds are counted for a clip
of `--seconds` and divided by its length; the Fourier transform and elementwise operations are left
out. Results are merged into benchmarks/results/networks.json, so that single networks can be
measured again; `--readme` prints the table of that file without measuring.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from ser_hf.experiment.sections import environment_section
from ser_hf.models import ARCHITECTURES

RESULTS = Path(__file__).parent / "results" / "networks.json"
CLASSES = 8
# those that take waveforms
TIMED = [name for name in ARCHITECTURES if not name.startswith("functionals")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=TIMED, metavar="NAME")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"networks": {}}
    if options.readme:
        print(table(results["networks"]))
        return
    unknown = set(options.names) - set(TIMED)
    if unknown:
        parser.error(
            f"unknown network {', '.join(sorted(unknown))}; choose from {', '.join(TIMED)}"
        )
    for name in options.names:
        results["networks"][name] = measure(name, options.seconds, options.batch, options.repeats)
        results["networks"][name]["threads"] = torch.get_num_threads()
        print(name, results["networks"][name], flush=True)
    results["environment"] = environment_section().to_dict()
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def measure(name: str, seconds: float, batch: int, repeats: int) -> dict:
    """Measure one network with its default configuration."""
    torch.manual_seed(0)
    model = ARCHITECTURES[name](ARCHITECTURES[name].config_class(num_labels=CLASSES))
    rate = model.config.sampling_rate
    waveforms = torch.randn(batch, round(seconds * rate)) * 0.1
    labels = torch.arange(batch) % CLASSES
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]

    forward = []
    training = []
    backward = []
    for _ in range(repeats + 1):  # the first warms up
        model.eval()
        with torch.no_grad():
            forward.append(clock(lambda: model(waveforms)))
        if trainable:
            model.train()
            outputs = []
            training.append(
                clock(lambda losses=outputs: losses.append(model(waveforms, labels=labels).loss))
            )
            backward.append(clock(outputs[0].backward))
    model.eval()
    # The counter does not know oneDNN's fused LSTM; without it the LSTM consists of matrix
    # products.
    with (
        torch.no_grad(),
        torch.backends.mkldnn.flags(enabled=False),
        FlopCounterMode(display=False) as counter,
    ):
        model(waveforms[:1])
    milliseconds = {
        f"{what}_ms_per_clip": 1000 * statistics.median(times[1:]) / batch if times else None
        for what, times in (
            ("forward", forward),
            ("training_forward", training),
            ("backward", backward),
        )
    }
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "multiply_adds_per_second": counter.get_total_flops() / 2 / seconds,
        "seconds_of_audio": seconds,
        "batch": batch,
        "repeats": repeats,
        **milliseconds,
    }


def clock(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def table(networks: dict) -> str:
    """Format the table of docs/networks.md."""
    lines = [
        "| network | parameters | multiply-adds per second | forward | backward |",
        "|---|---|---|---|---|",
    ]
    for name, row in networks.items():
        if name not in ARCHITECTURES:
            continue
        # The number of support vectors or nodes depends on the corpus.
        parameters = (
            "as fitted" if name in ("mfcc_rbf_svm", "mfcc_forest") else f"{row['parameters']:,}"
        )
        backward = (
            "" if row["backward_ms_per_clip"] is None else f"{row['backward_ms_per_clip']:.1f} ms"
        )
        lines.append(
            f"| `{name}` | {parameters} | {row['multiply_adds_per_second'] / 1e6:,.1f} M "
            f"| {row['forward_ms_per_clip']:.1f} ms | {backward} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
