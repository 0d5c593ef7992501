"""What a config out of a file may name, consist of, and lead to."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ddpm_lightning.runs.own_yaml import conf_folder, own_targets
from ddpm_lightning.runs.places import check_links, check_places, said_by
from ddpm_lightning.runs.stored_config import RENAMED
from ddpm_lightning.runs.stored_values import MAX_SIZE, RefusedError, check_plain
from ddpm_lightning.runs.trust import NOBODY, Trust, packages_of, trust_of_command


@pytest.fixture
def own_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a class, a function, and what it has imported."""
    name = f"own_package_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("import os\nfrom os import system\nfrom .parts import Net\n")
    (tmp_path / name / "parts.py").write_text(
        "from pathlib import Path\nclass Net: pass\nclass Place(Path): pass\ndef make(): pass\nnumber = 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_every_name_of_our_yaml_is_known_without_hydra() -> None:
    def names(node: object) -> set[str]:
        if isinstance(node, dict):
            own = {node["_target_"]} if node.get("_target_") else set()
            return own.union(*map(names, node.values()))
        return set()

    files = [file for file in conf_folder().rglob("*.yaml") if "hydra" not in file.parts]
    assert own_targets() == set().union(*(names(yaml.safe_load(file.read_text())) for file in files))
    assert len(own_targets()) > 40


def test_every_renamed_class_is_allowed() -> None:
    sources = {name for name in RENAMED.values() if not NOBODY.allows(name)}
    assert sources == set()


@pytest.mark.parametrize("name", ["torch.optim.AdamW", "torch.optim.sgd.SGD"])
def test_optimizers_of_torch_are_allowed(name: str) -> None:
    assert NOBODY.allows(name)


@pytest.mark.parametrize(
    "name",
    [
        "torch.optim.Optimizer.step", "torch.optim.lr_scheduler.LambdaLR", "torch.optim.adamw.torch.save",
        "torch.optim.nothing.Nothing", "torch.save", "ddpm_lightning.atomic_files.write_text",
        "ddpm_lightning.runs.build.instantiate", "ddpm_lightning.sweep.watch.SweepWatch", "os.system", "print", "",
    ],
)  # fmt: skip
def test_nothing_else_is_allowed(name: str) -> None:
    assert not NOBODY.allows(name)


def test_a_trusted_package_gives_what_it_defines(own_package: str) -> None:
    trust = Trust((own_package,))
    for name in ("Net", "parts.Net", "parts.make", "parts.Place"):
        assert trust.allows(f"{own_package}.{name}"), name
        assert not NOBODY.allows(f"{own_package}.{name}")
    for name in ("os.system", "system", "os.path.join", "parts.Path", "parts.Place.touch", "parts.number", "parts.os"):
        if name != "parts.os":  # what does not exist is reported by whoever builds it
            assert not trust.allows(f"{own_package}.{name}"), name
    assert not trust.allows(f"{own_package}_other.Net")


def test_a_package_is_imported_only_if_it_is_trusted(own_package: str) -> None:
    assert not Trust(("another",)).allows(f"{own_package}.Net")
    assert own_package not in sys.modules


@pytest.mark.parametrize(
    ("value", "packages"), [(None, ()), ("a", ("a",)), ("a, b", ("a", "b")), (["a", "b"], ("a", "b")), ("", ())]
)
def test_packages_are_a_list_or_a_text(value: object, packages: tuple[str, ...]) -> None:
    assert packages_of(value) == packages


def test_the_commands_own_words_are_allowed(compose_verb: Callable) -> None:
    command = compose_verb("train", "+callbacks.mine._target_=witness.Witness", "trust=[a,b]")
    trust = trust_of_command(command)
    assert trust.allows("witness.Witness") and trust.packages == ("a", "b")


@pytest.mark.parametrize("named", ["run", "run/checkpoints/last.ckpt"])
def test_yaml_of_the_run_itself_is_not_the_users(
    named: str, compose_verb: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file, name in (("run/config.yaml", "theirs.Net"), ("conf/model/mine.yaml", "mine.Net")):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(f"model: {{_target_: {name}}}  # _target_: comment.Net\n")
    Path("run/checkpoints").mkdir()
    Path("run/checkpoints/last.ckpt").touch()
    command = compose_verb("train")
    sources = [{"provider": "command-line", "schema": "file", "path": str(tmp_path)}]
    hydra = DictConfig({"runtime": {"config_sources": sources}})
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: hydra))
    trust = trust_of_command(command, named)
    assert trust.allows("mine.Net")
    assert not trust.allows("theirs.Net") and not trust.allows("comment.Net")


@pytest.mark.parametrize(
    "text", ["${seed}", "a ${seeds.init} b", "costs $5", "${metrics}", "a$b", "{x}"]
)  # fmt: skip
def test_plain_references_and_texts_pass(text: str) -> None:
    check_plain({"seed": 0, "seeds": {"init": 1}, "metrics": {"a": 1}, "x": [text]}, "run")


@pytest.mark.parametrize(
    "text",
    ["${oc.env:HOME}", "${stamp:}", "${a:${seed}}", "${${seed}}", "$${seed}", "x$", "\\${oc.env:A}", "${.a}", "${"],
)
def test_other_interpolations_are_refused(text: str) -> None:
    with pytest.raises(RefusedError, match=r"its option x\.y is .* put the value in its place"):
        check_plain({"seed": 0, "x": {"y": text}}, "run")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a": {"_args_": [1]}}, "option a._args_ would steer"),
        ({"a": [{"_convert_": "all"}]}, "option a._convert_ would steer"),
        ({"a": {"_target_": "${b}"}, "b": "c"}, "_target_ must be written out"),
        ({"a": {"_target_": ["b"]}}, "_target_ must be written out"),
        ({"a": {"_partial_": "${b}"}, "b": "c"}, "_partial_ must be written out"),
        ({"a": "${b}", "b": "${a}"}, "refers to itself"),
        ({"a": {"b": "${a}"}}, "refers to itself"),
        ({"a": Path("b")}, "is a PosixPath, not a plain value"),
        ({"a": "x" * (MAX_SIZE + 1)}, "too large"),
        ({"a": "x" * 1000} | {f"b{i}": "${%s}" % ("a" if i == 0 else f"b{i - 1}") * 11 for i in range(4)}, "multiply"),
        ([], "does not hold the config of a run, but a list"),
    ],
)
def test_what_no_run_stores_is_refused(config: object, message: str) -> None:
    with pytest.raises(RefusedError, match=message) as raised:
        check_plain(config, "run")
    assert "\n" not in str(raised.value)


def test_a_config_that_holds_itself_is_refused() -> None:
    config: dict = {}
    config["a"] = config
    with pytest.raises(RefusedError, match="nested too deeply"):
        check_plain(config, "run")


@pytest.mark.parametrize("value", ["photos", "a/b.pth", "..a", "./a", "val/loss", "1..2"])
def test_relative_paths_pass(value: str) -> None:
    check_places({"x": value}, "run")


@pytest.mark.parametrize(
    "value", ["/a", "../a", "a/../../b", "~/a", "~root", "https://a", "file:///a", "a\\..\\b", "a\0"]
)
def test_paths_that_lead_out_are_refused(value: str) -> None:
    with pytest.raises(RefusedError, match=r"its option x\.y leads to .* type it again: x\.y="):
        check_places({"x": {"y": [value]}}, "run")


def test_folders_are_those_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_places({"cache_dir": ".cache/a", "b": f"{tmp_path}/data/x", "name": "/a"}, "run", [".cache", "data"])
    with pytest.raises(RefusedError, match="cache_dir=elsewhere b=/a"):
        check_places({"cache_dir": "elsewhere", "b": "/a"}, "run", [".cache"])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to("/")
    with pytest.raises(RefusedError, match="leads to"):
        check_places({"b": f"{tmp_path}/data/link/etc"}, "run", ["data"])


def test_a_path_that_is_typed_again_may_lead_anywhere() -> None:
    says = said_by(OmegaConf.create({"metrics": {"weights": "/w", "again": "${absent}"}}))
    check_places({"metrics": {"weights": "/w"}}, "run", says=says)
    for config in ({"metrics": {"weights": "/v"}}, {"metrics": {"again": "/w"}}, {"other": "/w"}):
        with pytest.raises(RefusedError):
            check_places(config, "run", says=says)


def test_links_within_a_run_may_stay(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "last").symlink_to("checkpoints")
    (run / "circle").symlink_to("checkpoints/../last")
    check_links(run)
    (run / "logs").symlink_to(tmp_path)
    with pytest.raises(RefusedError, match="its logs is a link to"):
        check_links(run)
    check_links(run, [tmp_path])


def test_the_log_that_wandb_links_is_no_reason_to_refuse(tmp_path: Path) -> None:
    logs = tmp_path / "run" / "wandb" / "offline-run-20260101_120000-abc" / "logs"
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to(tmp_path / "cache.log")
    check_links(tmp_path / "run")
    (logs.parents[1] / "id").symlink_to(tmp_path / "cache.log")
    with pytest.raises(RefusedError, match="its wandb/id is a link to"):
        check_links(tmp_path / "run")
