# /// script
# requires-python = ">=3.11"
# dependencies = ["ser_hf @ git+https://github.com/ser-hf/ser_hf"]
# ///
"""Train a recipe on a rented GPU of the Hub, and push the model before the job ends.

    hf jobs uv run --flavor a10g-small --timeout 3h --secrets HF_TOKEN examples/hub_job.py \\
        USER/MODEL ravdess_wavlm corpus.download=true [section.key=value ...]

A job's disk is gone when the job ends. The run is published to USER/MODEL. If it fails, or
`--minutes` are over, its folder with the checkpoints goes to the private dataset USER/MODEL-run,
and the same command continues from there. Set `--minutes` at least ten below the job's `--timeout`.
"""

import argparse
import shutil
import signal
import sys
import traceback
from pathlib import Path

from huggingface_hub import HfApi

from ser_hf import cli


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repo", help="the model's repository, USER/MODEL")
    parser.add_argument("recipe", help="a recipe of the package, or a file that is mounted")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--minutes", type=int, default=170, help="stop then, and keep the run")
    options = parser.parse_args()

    # A token that is missing or may not write is noticed before anything is computed.
    hub = HfApi()
    hub.create_repo(options.repo, private=True, exist_ok=True)
    unfinished = f"{options.repo}-run"
    folder = Path("runs") / options.repo.rpartition("/")[2]
    if hub.repo_exists(unfinished, repo_type="dataset"):
        hub.snapshot_download(unfinished, repo_type="dataset", local_dir=folder)
        shutil.rmtree(folder / ".cache")

    signal.signal(signal.SIGALRM, signal.default_int_handler)  # as if somebody pressed Ctrl-C
    signal.alarm(60 * options.minutes)
    words = [options.recipe, *options.overrides, f"hub.repo={options.repo}"]
    try:
        code = cli.main(["train", *words, "--output", str(folder), "--resume"])
    except Exception:
        traceback.print_exc()
        code = 1
    signal.alarm(0)
    if code and folder.is_dir():
        hub.create_repo(unfinished, repo_type="dataset", private=True, exist_ok=True)
        hub.upload_folder(repo_id=unfinished, repo_type="dataset", folder_path=folder)
        print(f"the run is in the dataset {unfinished}; the same command continues it")
    return code


if __name__ == "__main__":
    sys.exit(main())
