"""How many single faults in the code do the tests of its layer notice?

Each fault is planted in a process of its own, as its module is imported; no file is changed. There the tests run that
reach the faulty statement, one case of each test first, until one fails. A fault is noticed if a test fails, or if they
take far longer than without it. `equivalent_faults.txt` lists faults that change nothing, each with the reason.

    python benchmarks/planted_faults.py --layer diffusion samplers --faults 60 --seed 0

plants 60 faults in each of two layers, the same ones for the same seed; `--faults 0` plants all. `--match TEXT` plants
those whose description has this text. Each is printed with its outcome, and a table at the end.
"""

import argparse
import ast
import builtins
import contextlib
import hashlib
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from code_faults import Fault, faults_of, with_calls

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "ddpm_lightning"
LAYERS = ["diffusion", "samplers", "metrics", "training", "report"]
SHARED_TESTS = ["tests/properties", "tests/test_every_combination.py"]
WITH_SHARED_TESTS = ["diffusion", "samplers", "training"]  # the layers that these exercise
TESTS_OF_DEFAULTS = "tests/test_defaults.py"  # they see class bodies and signatures, and run no function
EQUIVALENT = Path(__file__).with_name("equivalent_faults.txt")
MEMORY = 8 << 30  # bytes that a process may take beyond those at its start
Line = tuple[str, int]  # file, number
REACH = "_reach_of_planted_faults"  # the name of a builtin function during the baseline
FORK = multiprocessing.get_context("fork")


class Baseline(NamedTuple):
    """What the tests of a layer do without a fault."""

    lines: dict[str, set[Line]]  # which each test that passes runs, fixtures included
    at_collection: dict[str, set[Line]]  # which the module of some tests runs as it is imported
    seconds: dict[str, float]
    modules: list[str]  # of libraries, imported on the way


class Recorder:
    """A plugin of pytest that records which lines of a layer each test runs."""

    def __init__(self) -> None:
        self.current: set[Line] = set()
        self.lines: dict[str, set[Line]] = defaultdict(set)
        self.of_fixture: dict[Any, set[Line]] = defaultdict(set)
        self.at_collection: dict[str, set[Line]] = {}
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()

    def reach(self, file: str, line: int) -> None:
        """Called by each statement in functions of the layer."""
        self.current.add((file, line))

    @contextlib.contextmanager
    def recording(self, lines: set[Line]) -> Iterator[None]:
        outer, self.current = self.current, lines
        try:
            yield
        finally:
            self.current = outer

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Iterator[None]:
        with self.recording(self.at_collection.setdefault(collector.nodeid, set())):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        with self.recording(self.of_fixture[fixturedef]):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        with self.recording(self.lines[item.nodeid]):
            result = yield
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            for definition in definitions:
                self.lines[item.nodeid] |= self.of_fixture[definition]
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.outcome != "passed":
            self.failed.add(report.nodeid)


class Selection:
    """A plugin of pytest that runs the given tests alone, in their order."""

    def __init__(self, tests: list[str]) -> None:
        self.rank = {test: rank for rank, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self.rank]
        items[:] = sorted(chosen, key=lambda item: self.rank[item.nodeid])


def run_pytest(where: Iterable[str], plugin: object) -> int:
    options = ["-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:timeout", "-o", "addopts="]
    return pytest.main([*options, "--import-mode=importlib", f"--rootdir={ROOT}", *where], [plugin])


def in_child(work: Callable[[], int], seconds: float | None, log: Path) -> int | None:
    """The exit code of work in a forked process with a session of its own; None if it was killed for its time."""

    def body() -> None:
        os.setsid()
        limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os._exit(work())

    child = FORK.Process(target=body)
    child.start()
    child.join(seconds)
    code = child.exitcode
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid or 0, signal.SIGKILL)
    child.join()
    return code


def baseline(layer: str, log: Path) -> Baseline:
    """Runs the tests of a layer once in a child."""
    receiver, sender = FORK.Pipe(duplex=False)

    def work() -> int:
        recorder = Recorder()
        shared = SHARED_TESTS if layer in WITH_SHARED_TESTS else []
        setattr(builtins, REACH, recorder.reach)
        import_instead({str(file): with_calls(file, REACH) for file in (SOURCE / layer).rglob("*.py")})
        ran = run_pytest([f"tests/{layer}", *shared, TESTS_OF_DEFAULTS], recorder)
        for test in recorder.failed:
            del recorder.lines[test]
        paths = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.copy().items()}
        libraries = [name for name, path in paths.items() if path and not path.startswith(str(ROOT))]
        sender.send(Baseline(dict(recorder.lines), recorder.at_collection, dict(recorder.seconds), libraries))
        return ran

    found: list[Baseline] = []
    reader = threading.Thread(target=lambda: found.append(receiver.recv()))
    reader.start()
    code = in_child(work, None, log)
    if code:
        sys.exit(f"The tests of {layer} fail without a fault:\n{log.read_text()}")
    reader.join()
    return found[0]


def tests_for(fault: Fault, layer: Baseline) -> list[str]:
    """Tests that can notice a fault: one case of each that reach it, their other cases, the rest of their modules."""
    file, line = str(fault.file), fault.statement.lineno

    def is_reached(lines: set[Line]) -> bool:
        return (file, line) in lines if fault.in_function else any(path == file for path, _ in lines)

    def can_notice(test: str) -> bool:
        return is_reached(layer.lines[test]) or (not fault.in_function and module_of(test) == TESTS_OF_DEFAULTS)

    reach = set(filter(can_notice, layer.lines))
    seconds = {module: 0.0 for module, lines in layer.at_collection.items() if is_reached(lines)}
    for test in reach:
        seconds[module_of(test)] = seconds.get(module_of(test), 0) + layer.seconds[test]
    cases: dict[str, list[str]] = defaultdict(list)
    for test in layer.lines:
        cases[test.partition("[")[0]].append(test)
    first = {next(filter(reach.__contains__, same), None) for same in cases.values()}
    chosen = [test for test in layer.lines if module_of(test) in seconds]
    return sorted(chosen, key=lambda test: (test not in first, test not in reach, seconds[module_of(test)]))


def module_of(test: str) -> str:
    return test.partition("::")[0]


def import_instead(trees: dict[str, ast.Module]) -> None:
    """Gives Python these syntax trees when it imports the files."""
    read = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, name: str) -> Any:
        if self.path not in trees:
            return read(self, name)
        return compile(ast.fix_missing_locations(trees[self.path]), self.path, "exec", dont_inherit=True)

    SourceFileLoader.get_code = get_code  # type: ignore[assignment, method-assign]


def noticed(fault: Fault, layer: Baseline, log: Path) -> bool:
    tests = tests_for(fault, layer)
    if not tests:
        return False

    def work() -> int:
        fault.put(fault.new)
        import_instead({str(fault.file): fault.tree})
        return run_pytest(dict.fromkeys(map(module_of, tests)), Selection(tests))

    return in_child(work, 60 + 5 * sum(layer.seconds[test] for test in tests), log) != 0


def prepare(modules: list[str]) -> None:
    """Does once what every child would: imports libraries, and composes the configs that tests choose from."""
    for module in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    choices = importlib.import_module("choices")
    for group in (path.name for path in choices.CONF.iterdir() if path.is_dir()):
        with contextlib.suppress(Exception):
            for choice in choices.choices(group):
                choices.config_of(group, choice)
    assert not [name for name in sys.modules if name.startswith(tuple(f"ddpm_lightning.{layer}" for layer in LAYERS))]


def sample(faults: list[Fault], count: int, seed: int) -> list[Fault]:
    """Chosen by a hash of their descriptions, so that a change of other code changes few of them; 0: all."""
    chosen = sorted(faults, key=lambda fault: hashlib.sha256(f"{seed} {fault}".encode()).digest())[: count or None]
    return [fault for fault in faults if fault in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", nargs="+", choices=LAYERS, default=LAYERS)
    parser.add_argument("--faults", type=int, default=60, help="of each layer; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--match", default="", help="text in the description of a fault")
    options = parser.parse_args()
    equivalent = {line.partition("  # ")[0] for line in EQUIVALENT.read_text().splitlines()}
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]
    table = ["| layer | sites | planted | noticed | equivalent | survived | minutes |", "|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = tempfile.tempdir = scratch
        sys.dont_write_bytecode, sys.pycache_prefix = False, f"{scratch}/bytecode"
        log = Path(scratch, "log")
        for name in options.layer:
            start = time.monotonic()
            sites = [fault for path in sorted((SOURCE / name).rglob("*.py")) for fault in faults_of(path)]
            planted = [fault for fault in sample(sites, options.faults, options.seed) if options.match in str(fault)]
            layer = baseline(name, log)
            prepare(layer.modules)
            counts = dict.fromkeys(("noticed", "equivalent", "survived"), 0)
            for fault in planted:
                outcome = "equivalent" if str(fault) in equivalent else None
                outcome = outcome or ("noticed" if noticed(fault, layer, log) else "survived")
                counts[outcome] += 1
                print(f"{outcome}: line {fault.statement.lineno} of {fault}", flush=True)
            minutes = (time.monotonic() - start) / 60
            row = [name, len(sites), len(planted), *counts.values(), f"{minutes:.0f}"]
            table.append(f"| {' | '.join(map(str, row))} |")
    print("\n".join(table))


if __name__ == "__main__":
    main()
