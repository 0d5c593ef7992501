"""An exported model: its numbers are the checkpoint's, and what is damaged is refused in one sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import ddpm_lightning
from ddpm_lightning.atomic_files import new_folder
from ddpm_lightning.runs.exported import FORMAT_VERSION, read_exported, write_exported
from ddpm_lightning.runs.find_checkpoint import find_checkpoint
from ddpm_lightning.runs.saved_model import read_trained
from ddpm_lightning.training.checkpoint import CONFIG_KEY, read_checkpoint

RUN = Path(__file__).parents[1] / "fixtures" / "version_1" / "run"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    write_exported(read_trained(RUN), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("weights", ["ema", "raw", None])
def test_the_numbers_are_those_of_the_checkpoint(weights: str | None, tmp_path: Path) -> None:
    write_exported(read_trained(RUN, weights=weights), tmp_path / "model")
    checkpoint = read_checkpoint(find_checkpoint(RUN))
    raw = {k: v for k, v in checkpoint["state_dict"].items() if k.startswith("denoiser.network.")}
    averaged = {f"denoiser.network.{k}": v for k, v in checkpoint["ema"]["network"].items()}
    expected = raw if weights == "raw" else averaged
    state = load_file(tmp_path / "model" / "model.safetensors")
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert any(not torch.equal(raw[name], averaged[name]) for name in state)


def test_its_config_is_the_runs(exported: Path) -> None:
    content = json.loads((exported / "config.json").read_text())
    checkpoint = read_checkpoint(find_checkpoint(RUN))
    assert content["config"]["seed"] == checkpoint[CONFIG_KEY]["seed"]
    assert (content["step"], content["image_shape"]) == (checkpoint["global_step"], [1, 28, 28])
    assert content["card"] == json.loads((RUN / "metrics.json").read_text())["card"]
    assert ddpm_lightning.load(exported).config == {
        k: v for k, v in ddpm_lightning.load(RUN).config.items() if k != "paths"
    }


def test_the_folders_of_the_machine_stay_there(exported: Path) -> None:
    assert "paths" in read_trained(RUN).config
    assert "paths" not in json.loads((exported / "config.json").read_text())["config"]


def test_weights_that_were_not_scored_have_no_card(tmp_path: Path) -> None:
    write_exported(read_trained(RUN, weights="raw"), tmp_path / "model")
    assert ddpm_lightning.load(tmp_path / "model").card is None


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown weights 'best': choose from ema, raw"):
        read_trained(RUN, weights="best")


def change_config(folder: Path, **values: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def lose_key(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    del content["config"]
    (folder / "config.json").write_text(json.dumps(content))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def replace_network(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    content["config"]["model"]["channels"] = [8, 24]
    (folder / "config.json").write_text(json.dumps(content))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "newer": (lambda f: change_config(f, format_version=FORMAT_VERSION + 1), "exported by a newer version of ddpm"),
    "newer config": (lambda f: change_config(f, config={"config_version": 999}), "made by a newer version of ddpm"),
    "not json": (lambda f: (f / "config.json").write_text("{"), r"config\.json is damaged"),
    "not text": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), r"config\.json is damaged"),
    "of something else": (lambda f: (f / "config.json").write_text("[]"), "does not describe an exported model"),
    "a version of another type": (
        lambda f: change_config(f, format_version="x"),
        "format_version is not a whole number",
    ),
    "no shape": (lambda f: change_config(f, image_shape=None), "image_shape is not a list of 3 whole numbers"),
    "half a shape": (lambda f: change_config(f, image_shape=[1]), "image_shape is not a list of 3 whole numbers"),
    "a key missing": (lose_key, r"config\.json is damaged: it has no config"),
    "config missing": (lambda f: (f / "config.json").unlink(), r"lacks its config\.json"),
    "weights missing": (lambda f: (f / "model.safetensors").unlink(), r"lacks its model\.safetensors"),
    "cut": (lambda f: cut(f / "model.safetensors"), r"model\.safetensors is damaged"),
    "empty": (lambda f: (f / "model.safetensors").write_bytes(b""), r"model\.safetensors is damaged"),
    "one bit": (lambda f: flip_a_bit(f / "model.safetensors"), r"model\.safetensors is damaged, or of another model"),
    "other weights": (
        lambda f: save_file({"denoiser.a": torch.zeros(1)}, f / "model.safetensors"),
        r"of another model than the config\.json",
    ),
    "other network": (replace_network, "are not those of the network in its config"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_export_is_refused_in_one_sentence(damage: str, exported: Path) -> None:
    inflict, message = DAMAGES[damage]
    inflict(exported)
    with pytest.raises(ValueError, match=message) as raised:
        ddpm_lightning.load(exported)
    assert "\n" not in str(raised.value)


def test_verbs_that_need_a_run_refuse_an_export(exported: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is an exported model, which only ddpm_lightning\.load opens"):
        find_checkpoint(exported)


def test_a_class_of_another_package_needs_trust(exported: Path) -> None:
    content = json.loads((exported / "config.json").read_text())
    content["config"]["model"]["_target_"] = "pathlib.Path"
    (exported / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"names pathlib\.Path, which no run of ddpm-lightning needs"):
        ddpm_lightning.load(exported)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("a")
    with pytest.raises(FileExistsError, match="is not empty"):
        write_exported(read_trained(RUN), tmp_path / "model")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "mine"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    write_exported(read_trained(RUN), tmp_path / "model")
    assert read_exported(tmp_path / "model").step == read_trained(RUN).step


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "model") as folder:
            (folder / "half").write_text("a")
            assert not (tmp_path / "model").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_filled_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def fill_meanwhile() -> None:
        with new_folder(tmp_path / "model") as folder:
            (folder / "mine").write_text("a")
            (tmp_path / "model").mkdir()
            (tmp_path / "model" / "theirs").write_text("b")

    with pytest.raises(FileExistsError, match="is not empty"):
        fill_meanwhile()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "theirs"]


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a")
    with pytest.raises(FileExistsError, match="model is a file"):
        write_exported(read_trained(RUN), tmp_path / "model")
