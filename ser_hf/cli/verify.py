"""ser-hf verify: what a user without ser_hf gets who loads a model."""

import argparse

EXAMPLE = "ser-hf verify USER/MODEL --clips recording.wav"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a run's folder, a model folder or a Hub id")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a model on the Hub")
    parser.add_argument(
        "--clips",
        nargs="+",
        metavar="FILE",
        help="recordings to predict (default: a synthetic voice; of a run, some of its evaluated clips)",
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as one JSON object")
    parser.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run code that comes with the model; models of ser_hf need no flag",
    )


def run(options: argparse.Namespace) -> None:
    """Loads the model in a clean process and prints the verdict; exit code 1 if there are problems."""
    # Imported late: `--help` must not wait for these.
    from ..hub.verify import verify

    verdict = verify(
        options.model,
        revision=options.revision,
        clips=options.clips,
        trust_remote_code=options.trust_remote_code or None,
    )
    print(verdict.to_json() if options.json else verdict)
    if not verdict.good:
        raise SystemExit(1)
