from __future__ import annotations

from pathlib import Path

import pytest
from small_run import write_config

from train.config import Config, ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "train" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_make_a_model(path: Path) -> None:
    config = Config.read(path)
    assert config.new_fader().image_size == config.new_estimator().image_size


def test_numbers_that_yaml_takes_for_text_are_numbers(config: dict, tmp_path: Path) -> None:
    config["fader"]["objective"]["lambda_e"] = "3e-2"
    assert Config.read(write_config(config, tmp_path)).fader.objective.lambda_e == 0.03


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        ("fader", "batchsize", 8, "unknown setting 'fader.batchsize'"),
        ("fader", "batch_size", "many", "fader.batch_size must be of type int"),
        ("fader", "batch_size", True, "fader.batch_size must be of type int"),
        ("estimator", "learning_rate", "fast", "estimator.learning_rate must be a number"),
        ("fader", "objective", 3, "fader.objective must hold settings"),
        ("model", "width", "wide", "model.width must be of type int"),
        ("mirror", "put_on_as", {"Beard": {"Male": [1]}}, "put_on_as.Beard.Male must be of type"),
        ("mirror", "put_on_as", {"Beard": 1}, "put_on_as.Beard must be of type dict"),
    ],
)
def test_a_wrong_setting_is_named(
    config: dict, tmp_path: Path, section: str, name: str, value: object, message: str
) -> None:
    config.setdefault(section, {})[name] = value
    with pytest.raises(ConfigError, match=message):
        Config.read(write_config(config, tmp_path))


def test_an_unknown_target_lists_the_known_ones(config: dict, tmp_path: Path) -> None:
    config["fader"]["objective"]["adversary_target"] = "none"
    with pytest.raises(ConfigError, match="one of flipped, prior"):
        Config.read(write_config(config, tmp_path))


@pytest.mark.parametrize(("has", "used"), [(True, "bf16"), (False, "no")])
def test_bf16_is_used_where_the_hardware_has_it(
    config: dict, monkeypatch: pytest.MonkeyPatch, has: bool, used: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: has)
    assert Config.of(config | {"precision": "bf16"}).mixed_precision == used
    assert Config.of(config | {"precision": "no"}).mixed_precision == "no"


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("model: {width: 8")
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        Config.read(path)


def test_a_file_says_what_differs_from_its_base(config: dict, tmp_path: Path) -> None:
    base = write_config(config, tmp_path)
    path = tmp_path / "change.yaml"
    path.write_text(f"base: {base.name}\nfader: {{objective: {{lambda_e: 0.5}}}}\n")
    config["fader"]["objective"]["lambda_e"] = 0.5
    assert Config.read(path) == Config.of(config)
    base.unlink()
    with pytest.raises(ConfigError, match=base.name):
        Config.read(path)


def test_a_folder_of_another_run_is_refused(config: dict, tmp_path: Path) -> None:
    run = tmp_path / "run"
    Config.read(write_config(config, tmp_path)).claim(run)
    (run / "fader").mkdir()
    (run / "fader" / "checkpoint.safetensors").touch()
    config["fader"]["objective"]["lambda_e"] = 0.5
    with pytest.raises(ConfigError, match="another configuration"):
        Config.read(write_config(config, tmp_path)).claim(run)
