"""recipes/accelerate/: accelerate knows every key of each file, which starts the requested
processes and leaves all other settings to the recipe. Files are read and prepared as by `accelerate
launch`; nothing is launched."""

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

FOLDER = Path(__file__).parents[1] / "recipes" / "accelerate"
NAMES = ["cpu", "ddp", "ddp_two_machines", "deepspeed_zero2", "deepspeed_zero3", "fsdp"]


@pytest.mark.parametrize("name", NAMES)
def test_each_file_opens_with_its_command(name):
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    opening = text[: text.index("\ncompute_environment")].replace("\\\n#", "")
    assert opening.startswith(
        f"# accelerate launch --config_file recipes/accelerate/{name}.yaml --num_processes "
    )
    words = " ".join(opening.splitlines()[0].split()[3:]).replace("RECIPE", "recipe.yaml")
    arguments = launch_command_parser().parse_args(
        words.replace("recipes/accelerate", str(FOLDER)).split()
    )
    assert arguments.module
    assert arguments.training_script == "ser_hf.train"
    assert arguments.training_script_args == ["recipe.yaml"]


@pytest.mark.parametrize("name", NAMES)
def test_accelerate_knows_every_key(name):
    # Unknown keys at the top are an error of accelerate; it ignores those of a section.
    load_config_from_file(str(FOLDER / f"{name}.yaml"))
    known = vars(launch_command_parser().parse_args(["script.py"]))
    values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    for section in ("fsdp_config", "deepspeed_config"):
        assert set(values.get(section, {})) <= set(known)


@pytest.mark.parametrize("name", NAMES)
def test_a_launch_starts_the_requested_processes(name):
    """Without these settings `accelerate launch` starts one process, however many are requested."""
    command = ["--config_file", str(FOLDER / f"{name}.yaml"), "--num_processes", "4"]
    command += ["-m", "ser_hf.train", "recipe.yaml"]
    command[:0] = ["--machine_rank", "0"] if name == "ddp_two_machines" else []
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(command))
    assert arguments.multi_gpu or arguments.use_fsdp or arguments.use_deepspeed
    assert not arguments.cpu
    assert arguments.num_processes == 4
