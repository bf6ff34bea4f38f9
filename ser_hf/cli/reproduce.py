"""ser-hf reproduce: rerun the recipe that was saved with a model, and compare."""

import os
from typing import Annotated, Any

from typer import Argument, Exit, Option

from .options import Overrides, Overwrite, Resume, require_one_of


def reproduce(
    source: Annotated[
        str, Argument(metavar="RUN|REPO", help="A run folder, a published model's folder or its Hub id.")
    ],
    overrides: Overrides = None,
    output: Annotated[
        str | None,
        Option(
            metavar="DIR",
            help="Folder of the new run.  [default: NAME-reproduced beside a run, otherwise runs/NAME-reproduced]",
        ),
    ] = None,
    tolerance: Annotated[
        float, Option(metavar="X", help="Largest difference of UAR, macro-F1 and WA that counts as reproduced.")
    ] = 0.005,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Rerun the recipe saved with a model, and compare.

    The exit code is 1 if the figures are not reproduced.

    Example: ser-hf reproduce runs/ravdess_crnn corpus.root=data/RAVDESS
    """
    require_one_of(resume, overwrite)
    from ..experiment.reproduce import reproduce

    comparison = reproduce(
        source, overrides or [], output=output, tolerance=tolerance, resume=resume, overwrite=overwrite
    )
    if os.environ.get("RANK", "0") == "0":
        print(summary(comparison))
    if not comparison["reproduced"]:
        raise Exit(1)


def summary(comparison: dict[str, Any]) -> str:
    """The comparison for the terminal: protocol first, figures, causes, and the verdict last."""
    protocol = comparison["protocol"]
    sha256, clips = protocol["sha256"], protocol["clips"]
    if sha256["equal"]:
        same = {True: "the same samples and labels", False: "OTHER SAMPLES, LABELS OR SPEAKERS under the same ids"}
        content = same.get(clips["equal"], "their content was not recorded")
        state = f"the same clips in the same splits (sha256 {sha256['now'][:16]}), {content}"
    else:
        state = f"ANOTHER SPLIT (sha256 {sha256['saved'][:16]} then, {sha256['now'][:16]} now)"
    lines = ["", f"{comparison['name']}: {comparison['source']} rerun", f"  protocol {protocol['name']}: {state}"]
    lines += [f"  differs from the saved recipe: {key} {_change(own)}" for key, own in comparison["recipe"].items()]
    for key, values in comparison["recordings"].items():
        then, now = (f"{facts['clips']} (sha {facts['sha'][:16]})" for facts in (values["saved"], values["now"]))
        lines.append(f"  {key} holds OTHER RECORDINGS: {then} then, {now} now")
    if comparison["added"]:
        lines.append(f"  keys that the saved recipe does not have: {', '.join(comparison['added'])}")
    if comparison["incomparable"]:
        lines.append(f"  figures cannot be compared: {'; '.join(comparison['incomparable'])}")
    else:
        lines += _figures(comparison)
        exact = comparison["verdict"].endswith("last digit")
        cause = "differs in the environment" + ("" if exact else ", a likely cause")
        lines += [f"  {cause}: {key} {_change(values)}" for key, values in comparison["environment"].items()]
    written = f"written to {comparison['output_dir']}/report/reproduction.json"
    lines.append(f"  {written if comparison['trained'] else 'nothing was trained or written'}")
    return "\n".join([*lines, comparison["verdict"]])


def _figures(comparison: dict[str, Any]) -> list[str]:
    from ..evaluation.metrics import NAMES

    width = max(len(row["of"]) for row in comparison["figures"])
    lines = [f"  {'':<{width}} {'':<11} {'saved':>8} {'now':>8} {'difference':>11}"]
    for row in comparison["figures"]:
        difference = f"{row['difference']:+.4f}" if abs(row["difference"]) >= 5e-5 else f"{row['difference']:+.1e}"
        name, difference = NAMES.get(row["metric"], row["metric"]), difference if row["difference"] else "none"
        lines.append(f"  {row['of']:<{width}} {name:<11} {row['saved']:>8.4f} {row['now']:>8.4f} {difference:>11}")
    lines += [f"  measured in the saved run only: {name}" for name in comparison["missing"]]
    for part, facts in (comparison["predictions"] or {}).items():
        same = f"  same predicted class, {part}: {100 * facts['same']:.4g} % of {facts['clips']} clips"
        lines.append(f"{same}; probabilities differ by {facts['probability']:.2g} at most")
    return lines


def _change(values: dict[str, Any]) -> str:
    return f"{values['saved']} -> {values['now']}"
