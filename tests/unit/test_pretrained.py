"""Loading: a good folder loads, and a bad one says which file is wrong and why."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelInfo
from huggingface_hub.errors import RepositoryNotFoundError
from safetensors.torch import load_file, save_file

from fader_demo import pretrained
from fader_demo.pretrained import FETCHED, ModelError, load_model


@pytest.fixture
def folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """A model folder of the test's own, to be damaged."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))


@pytest.fixture(autouse=True)
def no_pickles(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr("pickle.load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_loads_ready_for_use_and_offline(
    tiny_model_folder: Path, kind: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "snapshot_download", None)
    fader, estimator = load_model(kind(tiny_model_folder))
    assert not fader.training
    assert not estimator.training
    assert fader.schema.names == estimator.schema.names
    stored = load_file(tiny_model_folder / "model.safetensors")
    assert all(torch.equal(stored[k], v) for k, v in fader.state_dict().items())


# The Hub


def test_a_hub_id_is_fetched_at_its_revision(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def download(repo_id: str, **options: Any) -> str:
        asked.update(options, repo_id=repo_id)
        return str(tiny_model_folder)

    monkeypatch.setattr(pretrained, "snapshot_download", download)
    load_model("someone/fader-faces", revision="v1")
    assert asked == {"repo_id": "someone/fader-faces", "revision": "v1", "allow_patterns": FETCHED}
    assert not any(name.endswith((".bin", ".pt", ".pkl", ".ckpt")) for name in FETCHED)


def test_a_hub_id_that_cannot_be_fetched() -> None:
    with pytest.raises(ModelError, match=r"someone/fader-faces .* could not be fetched .* at v1"):
        load_model("someone/fader-faces", revision="v1")  # the tests run offline


def test_a_hub_id_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    def download(*_: Any, **__: Any) -> str:
        request = httpx.Request("GET", "https://huggingface.co")
        raise RepositoryNotFoundError("404", response=httpx.Response(404, request=request))

    monkeypatch.setattr(pretrained, "snapshot_download", download)
    with pytest.raises(ModelError, match="could not be fetched"):
        load_model("someone/nothing")


def test_a_model_too_large_to_fetch_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def described(*_: Any, **__: Any) -> ModelInfo:
        files = [
            {"rfilename": "model.safetensors", "size": 2_500_000_000},
            {"rfilename": "film.mp4", "size": 10**12},  # which would stay there
        ]
        return ModelInfo(id="someone/faces", siblings=files)

    monkeypatch.setattr(pretrained, "model_info", described)
    monkeypatch.setattr(pretrained, "snapshot_download", None)
    with pytest.raises(ModelError, match=r"someone/faces has 2\.5 GB; at most 2 GB"):
        load_model("someone/faces")


@pytest.mark.parametrize("source", ["nowhere", "a/b/c", "../up", "", "/no/such", Path("a/b")])
def test_what_is_neither_folder_nor_hub_id(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "snapshot_download", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError):
        load_model(source)


# Files


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "estimator/config.json", "estimator"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ModelError, match=f"{name}.* is missing"):
        load_model(folder)


def test_pickled_weights_are_no_substitute(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.pt", "model.safetensors.bin"):
        torch.save({"weights": torch.zeros(1)}, folder / name)
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        load_model(folder)
    torch.save({"weights": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "estimator/model.safetensors"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:4],
        lambda data: data[:200],
        lambda data: data[:-1],
        lambda data: data + b"more",
        lambda data: b"\xff" * len(data),
        lambda data: b"\xff" * 8 + data[8:],
    ],
    ids=["empty", "stub", "header", "truncated", "longer", "garbage", "huge-header"],
)
def test_damaged_weights_are_named(
    folder: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    path = folder / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=f"{name} is damaged"):
        load_model(folder)


def _rename(weights: dict[str, torch.Tensor], key: str) -> None:
    weights["other"] = weights.pop(key)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda w, k: w.pop(k), "none, expected"),
        (_rename, "does not fit"),
        (
            lambda w, k: w.update(extra=torch.zeros(3)),
            r"extra has shape \[3\] of float32, expected none",
        ),
        (lambda w, k: w.update({k: w[k][:1].clone()}), "does not fit"),
        (lambda w, k: w.update({k: w[k].half()}), "of float16, expected .* of float32"),
        (lambda w, k: w.update({k: torch.zeros(1_000_000)}), "it is too large"),
        (lambda w, k: w[k].fill_(torch.nan), "not finite"),
    ],
    ids=["missing", "renamed", "extra", "shape", "type", "size", "nan"],
)
def test_weights_that_do_not_fit_say_which(
    folder: Path, change: Callable[[dict[str, torch.Tensor], str], Any], why: str
) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights, "decoder.upsamples.0.conv.weight")
    save_file(weights, path)
    with pytest.raises(ModelError, match=rf"model\.safetensors .*{why}"):
        load_model(folder)


# Configurations


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\x00", "[" * 100_000, '{"a": 1}'])
def test_a_file_that_is_no_configuration(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json"):
        load_model(folder)


def test_a_huge_configuration_is_not_read(folder: Path) -> None:
    (folder / "config.json").write_text(" " * 2_000_000)
    with pytest.raises(ModelError, match="too large"):
        load_model(folder)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("image_size", [0, -64, 2048, 100, 64.0, "64", None, True]),
        ("width", [0, 2**40, "8"]),
        ("max_width", [0, 10**30]),
        ("depth", [0, 9, 7]),
        ("attributes", [[], {}, "Smiling", [{"name": f"a{i}"} for i in range(65)]]),
        ("attributes", [[1], [{}], [{"name": "A", "slider": [2, 1]}], [{"name": "A", "x": 1}]]),
    ],
)
def test_a_setting_that_cannot_be_is_refused(folder: Path, name: str, values: list[Any]) -> None:
    for value in values:
        _configure(folder / "config.json", **{name: value})
        with pytest.raises(ModelError, match=r"config\.json"):
            load_model(folder)


@pytest.mark.parametrize("name", ["attributes", "image_size", "width", "max_width", "depth"])
def test_a_missing_setting_is_not_guessed(folder: Path, name: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config[name]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"lacks '{name}'"):
        load_model(folder)


def test_another_models_configuration_is_refused(folder: Path) -> None:
    _configure(folder / "config.json", hidden_size=768)
    with pytest.raises(ModelError, match="'hidden_size' that is not known"):
        load_model(folder)


def test_large_but_allowed_sizes_cost_no_memory(folder: Path) -> None:
    _configure(folder / "config.json", image_size=1024, width=1024, max_width=1024, depth=8)
    with pytest.raises(ModelError, match=r"model\.safetensors does not fit"):
        load_model(folder)


@pytest.mark.parametrize(
    "attribute",
    [
        {"name": "A" * 101},
        {"name": "A\nB"},
        {"name": "A", "label": "\u202eA"},
        {"name": "A", "kind": "categorical", "choices": [str(i) for i in range(65)]},
        {"name": "A", "kind": "categorical", "choices": ["a", "b" * 101]},
        {"name": "A", "kind": "continuous", "range": [0, 1e300]},
        {"name": "A", "slider": [-(10**400), 1]},
        {"name": "A", "slider": [float("-inf"), 1]},
        {"name": "A", "slider": [float("nan"), 1]},
        {"name": "A", "default": [[[[1e10]]]]},
    ],
    ids=lambda attribute: repr(attribute)[:50],
)
def test_an_attribute_no_page_could_show_is_refused(
    folder: Path, attribute: dict[str, Any]
) -> None:
    for path in (folder / "config.json", folder / "estimator" / "config.json"):
        _configure(path, attributes=[attribute])
    with pytest.raises(ModelError, match=r"config\.json: (names|numbers|an attribute)"):
        load_model(folder)


def test_a_configuration_that_claims_much_fails_at_once_and_costs_no_memory(folder: Path) -> None:
    config = (folder / "config.json").read_text()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    at_least_one = ("image_size", "width", "max_width", "depth", "latent_channels")
    for setting, least in {**dict.fromkeys(at_least_one, 1), "encoder_residuals": 0}.items():
        (folder / "config.json").write_text(config)
        _configure(folder / "config.json", **{setting: 10**9})
        with pytest.raises(ModelError, match=f"{setting} must be a whole number in {least}"):
            load_model(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


# The files while the model is in use


def test_a_loaded_model_does_without_its_files(folder: Path) -> None:
    """Of files that are mapped into memory, a truncated one would end the process here."""
    fader, _ = load_model(folder)
    latent = torch.zeros(1, *fader.latent_shape)
    with torch.inference_mode():
        before = fader.decode(latent, fader.schema.table({}))
        for path in folder.rglob("*.safetensors"):
            os.truncate(path, 0)
        assert torch.equal(fader.decode(latent, fader.schema.table({})), before)


# The two networks agree


@pytest.mark.parametrize(
    "change",
    [{"name": "Smile"}, {"kind": "continuous"}, {"kind": "continuous", "range": [0, 2]}],
)
def test_an_estimator_of_other_attributes_is_refused(folder: Path, change: dict[str, Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["attributes"] = [{"name": "Smiling"} | change, *config["attributes"][1:]]
    fader = pretrained.Fader(**config)
    fader.save_pretrained(folder)
    with pytest.raises(ModelError, match="names, kinds, ranges and choices must be equal"):
        load_model(folder)


def test_labels_and_sliders_are_the_faders_to_choose(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["attributes"][0] |= {"label": "Smile", "slider": [-3, 3], "group": "Mouth"}
    _configure(folder / "config.json", attributes=config["attributes"])
    assert load_model(folder)[0].schema["Smiling"].label == "Smile"


def _configure(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
