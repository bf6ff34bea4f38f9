"""ser-hf verify: what a user would get who loads a model, whoever made it, and has no ser_hf."""

import argparse

EXAMPLE = "ser-hf verify USER/MODEL --clips recording.wav"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a run's folder, a model folder or a Hub id")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a model on the Hub")
    parser.add_argument(
        "--clips",
        nargs="+",
        metavar="FILE",
        help="recordings that it must answer (default: a synthetic voice; of a run, clips that it was judged on)",
    )
    parser.add_argument("--json", action="store_true", help="all that was found as one JSON object")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code that a model of others brings; ours need none"
    )


def run(options: argparse.Namespace) -> None:
    """Loads it in a process of its own and prints the verdict; exit code 1 where there are problems."""
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
