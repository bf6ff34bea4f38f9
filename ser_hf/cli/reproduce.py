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
    import pandas as pd

    protocol = comparison["protocol"]
    sha256 = protocol["sha256"]
    same = {True: "the same samples and labels", False: "OTHER SAMPLES, LABELS OR SPEAKERS under the same ids"}
    content = same.get(protocol["clips"]["equal"], "their content was not recorded")
    state = f"the same clips in the same splits (sha256 {sha256['now'][:16]}), {content}"
    if not sha256["equal"]:
        state = f"ANOTHER SPLIT (sha256 {sha256['saved'][:16]} then, {sha256['now'][:16]} now)"
    lines = ["", f"{comparison['name']}: {comparison['source']} rerun", f"  protocol {protocol['name']}: {state}"]
    for of, title in (("recipe", "another"), ("recordings", "other"), ("environment", "another")):
        lines += [f"  {title} {of}: {key} {own['saved']} -> {own['now']}" for key, own in comparison[of].items()]
    if comparison["incomparable"]:
        lines.append(f"  figures cannot be compared: {'; '.join(comparison['incomparable'])}")
    else:
        lines.append(pd.DataFrame(comparison["figures"]).to_string(index=False, float_format="{:.4f}".format))
        lines += [f"  measured in the saved run only: {name}" for name in comparison["missing"]]
        if comparison["predictions"] is not None:
            lines.append(f"  same predicted class: {100 * comparison['predictions']:.4g} % of the clips")
    written = f"written to {comparison['output_dir']}/report/reproduction.json"
    lines.append(f"  {written if comparison['trained'] else 'nothing was trained or written'}")
    return "\n".join([*lines, comparison["verdict"]])
