"""The console script `ser-hf`: names the verbs, and imports a verb only when it is called."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

# Verb -> what it does; each is a module of ser_hf.cli with `add_arguments(parser)`, `run(options)` and EXAMPLE.
VERBS = {
    "cache": "list what stands in the cache, or delete what is not used any more",
    "compare": "runs side by side: a table, a bar chart with intervals, and which differences are more than chance",
    "demo": "a page in your browser to try a model on: record, upload, or watch it while you speak",
    "download": "get a corpus from where it is published, every file checked, or check a folder",
    "evaluate": "judge a trained model, whoever made it, on a corpus, or several on several",
    "export": "a model as one ONNX file, from the waveform to probabilities, compared with the model",
    "inspect": "look at a corpus before training, or (--augment) hear what a recipe does to its clips",
    "predict": "what a trained model says of recordings: labels, probabilities, logits and embeddings",
    "publish": "a finished run onto the Hub: model, card, report and Space, verified before and after",
    "publish-corpus": "bring a corpus that may be passed on to the Hub: playable audio, speakers, splits, a card",
    "reproduce": "rerun the recipe saved with a model, and compare the figures",
    "sweep": "run a recipe many times with other values of some keys, and find the best on validation",
    "train": "train, judge and describe a model as a recipe says",
    "verify": "load a model, whoever made it, where ser_hf is not, and say what a user would get",
}


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="ser-hf", description="Fine-tune, judge and publish emotion recognisers.")
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    verbs = "; ".join(f"{verb}: {what}" for verb, what in VERBS.items())
    parser.add_argument("verb", nargs="?", choices=VERBS, metavar="verb", help=verbs)
    options = parser.parse_args(arguments[:1])
    if options.version:
        from ..utils.environment import __version__

        print(f"ser-hf {__version__}")
        return 0
    if options.verb is None:
        parser.print_help()
        return 2
    return _run(options.verb, arguments[1:])


def _run(verb: str, arguments: Sequence[str]) -> int:
    from ..train import guarded

    command = import_module(f"ser_hf.cli.{verb.replace('-', '_')}")
    what = f"{VERBS[verb][0].upper()}{VERBS[verb][1:]}."
    parser = argparse.ArgumentParser(prog=f"ser-hf {verb}", description=what, epilog=f"example: {command.EXAMPLE}")
    command.add_arguments(parser)
    return guarded(command.run, parser.parse_intermixed_args(arguments), getattr(command, "INTERRUPTED", ""))


if __name__ == "__main__":
    sys.exit(main())
