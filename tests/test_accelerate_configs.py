"""recipes/accelerate/: accelerate knows every key of each file, which starts the requested processes and leaves all
other settings to the recipe. Files are read and prepared as by `accelerate launch`; nothing is launched."""

import os
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.dataclasses import DeepSpeedPlugin
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from torch.distributed.fsdp import MixedPrecisionPolicy, StateDictType

FOLDER = Path(__file__).parents[1] / "recipes" / "accelerate"
NAMES = ["cpu", "ddp", "ddp_two_machines", "deepspeed_zero2", "deepspeed_zero3", "fsdp"]
# Environment variables that a launch sets for its processes.
PREFIXES = ("ACCELERATE_", "FSDP_", "OMP_", "MASTER_", "RANK", "WORLD_", "LOCAL_")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(PREFIXES):
            monkeypatch.delenv(name)
    before = set(os.environ)
    yield
    # accelerate's plugins write there themselves.
    for name in set(os.environ) - before:
        if name.startswith(PREFIXES):
            del os.environ[name]


def launch(name, *more):
    """The arguments of `accelerate launch` with a file, as it resolves them, and the configuration."""
    command = ["--config_file", str(FOLDER / f"{name}.yaml"), "--num_processes", "4", *more]
    arguments, config, _ = _validate_launch_command(
        launch_command_parser().parse_args([*command, "-m", "ser_hf.train", "recipe.yaml"])
    )
    return arguments, config


@pytest.fixture
def launched(monkeypatch):
    """A function that puts the environment of a launched process around the test."""

    def start(name):
        arguments, config = launch(name)
        arguments.main_process_port = 0
        if arguments.use_deepspeed:
            arguments.deepspeed_fields_from_accelerate_config = ",".join(config.deepspeed_config)
            _, environment = prepare_deepspeed_cmd_env(arguments)
        else:
            environment = prepare_multi_gpu_env(arguments)
        for key, value in environment.items():
            if key.startswith(PREFIXES):
                monkeypatch.setenv(key, value)
        return environment

    return start


@pytest.mark.parametrize("name", NAMES)
def test_each_file_opens_with_its_command(name):
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    opening = text[: text.index("\ncompute_environment")].replace("\\\n#", "")
    assert opening.startswith(f"# accelerate launch --config_file recipes/accelerate/{name}.yaml --num_processes ")
    words = " ".join(opening.splitlines()[0].split()[3:]).replace("RECIPE", "recipe.yaml")
    arguments = launch_command_parser().parse_args(words.replace("recipes/accelerate", str(FOLDER)).split())
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
    """Without these settings `accelerate launch` starts one process, whatever number is requested."""
    arguments, _ = launch(name, *(["--machine_rank", "0"] if name == "ddp_two_machines" else []))
    assert arguments.multi_gpu or arguments.use_fsdp or arguments.use_deepspeed
    assert not arguments.cpu
    assert arguments.num_processes == 4


def test_fsdp_as_a_process_builds_it(launched):
    launched("fsdp")
    assert os.environ["ACCELERATE_USE_FSDP"] == "true"
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.state_dict_type == StateDictType.FULL_STATE_DICT
    assert not plugin.cpu_ram_efficient_loading
    assert not plugin.activation_checkpointing
    plugin.set_mixed_precision("bf16")
    assert plugin.mixed_precision_policy == MixedPrecisionPolicy(torch.bfloat16, torch.bfloat16, torch.bfloat16)


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_as_a_process_builds_it(launched, stage):
    launched(f"deepspeed_zero{stage}")
    assert os.environ["ACCELERATE_USE_DEEPSPEED"] == "true"
    plugin = DeepSpeedPlugin()
    assert plugin.zero_stage == stage
    assert not plugin.zero3_init_flag
    saves_all = plugin.deepspeed_config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"]
    assert saves_all is (stage == 3)
    assert plugin.deepspeed_config["gradient_accumulation_steps"] == "auto"
    assert plugin.deepspeed_config["gradient_clipping"] == "auto"
