"""Measure time and memory of a training step by the number of trainable layers, for a
wav2vec2-base-sized encoder.

    OMP_NUM_THREADS=1 python benchmarks/depth.py [NAME ...] [--batch 4] [--seconds 3] [--steps 5]
    [--readme]

The encoder has the configuration of wav2vec2-base and random weights, since neither time nor memory
depends on their values. Each variant runs in a separate process on noise of `--seconds`. A step is
forward, backward and AdamW, as in the Trainer, with SpecAugment and dropout; frozen modules are in
evaluation mode. Times are medians over all steps except the first. On a CPU they are processor
time, which other processes hardly affect. Memory is the peak resident memory of the process while
it trains, minus its memory before the model was built (on CUDA: the peak of what torch allocated).
`saved` is the size of the model's tensors in a checkpoint. Results are merged into
benchmarks/results/depth.json; `--readme` prints the table of that file without measuring.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

from ser_hf.experiment.sections import environment_section
from ser_hf.training.freezing import Freezing, freeze, frozen_modules
from ser_hf.training.lora import Lora, add_lora
from ser_hf.training.optimizer import parameter_groups

RESULTS = Path(__file__).parent / "results" / "depth.json"
VARIANTS = {
    "full": {},
    "stem frozen": {"freezing": Freezing(feature_encoder=True)},
    "top 4 layers": {"freezing": Freezing(top_layers=4)},
    "head only": {"freezing": Freezing(encoder=True)},
    "LoRA, rank 8": {"lora": Lora(8)},
    "LoRA, rank 8, checkpointing": {"lora": Lora(8), "checkpointing": True},
    "DoRA, rank 8": {"lora": Lora(8, dora=True)},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--readme", action="store_true")
    parser.add_argument(
        "--worker", action="store_true", help="measure one variant in this process and print JSON"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(VARIANTS):
        parser.error(
            f"unknown variant {', '.join(sorted(unknown))}; choose from {', '.join(VARIANTS)}"
        )
    if options.worker:
        print(json.dumps(measure(options.names[0], options.batch, options.seconds, options.steps)))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"variants": {}}
    if not options.readme:
        for name in options.names:
            settings = (
                f"--batch={options.batch}",
                f"--seconds={options.seconds}",
                f"--steps={options.steps}",
            )
            finished = subprocess.run(
                [sys.executable, __file__, name, "--worker", *settings],
                stdout=subprocess.PIPE,
                check=True,
            )
            results["variants"][name] = json.loads(finished.stdout)
            print(name, results["variants"][name], flush=True)
            results["environment"] = environment_section().to_dict()
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results["variants"]))


def measure(name: str, batch: int, seconds: float, steps: int) -> dict:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = _peak(device)
    torch.manual_seed(0)
    config = Wav2Vec2Config(num_labels=6, layerdrop=0.0)  # a dropped layer would make a step faster
    model = Wav2Vec2ForSequenceClassification(config).to(device)
    if "lora" in VARIANTS[name]:
        model = add_lora(model, VARIANTS[name]["lora"])
    freeze(model, VARIANTS[name].get("freezing", Freezing()))
    if VARIANTS[name].get("checkpointing"):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer = torch.optim.AdamW(parameter_groups(model, 3e-5, 0.01), fused=device.type == "cuda")
    waveforms = 0.1 * torch.randn(batch, round(16000 * seconds), device=device)
    labels = torch.arange(batch, device=device) % config.num_labels
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    frozen = frozen_modules(model)
    times = []
    losses = []
    for _ in range(steps + 1):
        began = clock()
        model.train()
        for module in frozen:
            module.eval()
        loss = torch.nn.functional.cross_entropy(model(waveforms).logits.float(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())  # waits for the device
        times.append(clock() - began)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        saved = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
    return {
        "trainable": sum(
            parameter.numel() for parameter in model.parameters() if parameter.requires_grad
        ),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds_per_step": statistics.median(times[1:]),
        "memory_mib": (_peak(device) - before) / 2**20,
        "saved_mib": saved / 2**20,
        "batch": batch,
        "clip_seconds": seconds,
        "threads": torch.get_num_threads(),
        "losses": losses,
    }


def _peak(device: torch.device) -> int:
    """Return the peak memory in bytes so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def table(variants: dict) -> str:
    full = variants["full"]
    lines = [
        "| trained | trainable parameters | time per step | memory | saved |",
        "|---|---|---|---|---|",
    ]
    for name, row in variants.items():
        times = (
            f"{row['seconds_per_step']:.2f} s "
            f"({row['seconds_per_step'] / full['seconds_per_step']:.2f} x)"
        )
        memory = f"{row['memory_mib']:,.0f} MiB ({row['memory_mib'] / full['memory_mib']:.2f} x)"
        lines.append(
            f"| {name} | {row['trainable']:,} | {times} | {memory} | {row['saved_mib']:,.1f} MiB |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
