"""ser-hf convert: a published checkpoint of another project as a model folder."""

import dataclasses
import os
from typing import Annotated, Literal

from typer import Argument, Option

from ..utils.errors import UserError
from .first_checks import announce
from .options import Json, as_json


def convert(
    kind: Annotated[Literal["emotion2vec"], Argument(help="What the file holds.")],
    file: Annotated[
        str, Argument(metavar="FILE", help="The published checkpoint, such as model.pt.")
    ],
    folder: Annotated[str, Argument(metavar="FOLDER", help="The new model folder.")],
    tokens: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="The labels of the classifier, one a line.  [default: tokens.txt beside FILE]",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Convert a checkpoint of emotion2vec to a folder with safetensors.

    No code of the file runs. The folder is a model.checkpoint of recipes. With a classifier it
    also works with predict, evaluate and export. conversion.json in it accounts for every tensor.

    Example: ser-hf convert emotion2vec emotion2vec_plus_base/model.pt models/emotion2vec_plus_base
    """
    if not os.path.isfile(file):
        raise UserError(f"FILE: {file}: no such file")
    announce(file)
    from ..loading.emotion2vec import convert_emotion2vec
    from ..report.terminal import conversion_summary

    conversion = dataclasses.asdict(convert_emotion2vec(file, folder, tokens))
    print(as_json(conversion) if json else conversion_summary(conversion))
