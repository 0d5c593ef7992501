"""The command line of the verbs without Hydra: paths, options, and what is neither."""

from pathlib import Path

import pytest

from ddpm_lightning.verbs.words import Words, read_words

KNOWN = ("metric", "by", "out")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder that holds the folders `run` and `by=hand`."""
    for name in ("run", "by=hand"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(*words: str) -> Words:
    return read_words(words, KNOWN, "the usage")


def test_paths_and_options_in_any_order(here: Path) -> None:
    assert read("out=there", "run", "by=a,b=c", str(here)) == (("run", str(here)), {"out": "there", "by": "a,b=c"})


def test_a_path_that_exists_is_no_option(here: Path) -> None:
    assert read("by=hand") == (("by=hand",), {})
    assert read("by=hands") == ((), {"by": "hands"})


@pytest.mark.parametrize("pattern", ["run*", "multirun/x/loss=*", "r[a-u]n", "ru?"])
def test_a_pattern_is_a_path(here: Path, pattern: str) -> None:
    assert read(pattern) == ((pattern,), {})


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("metrics=fid", "unknown option 'metrics'; the options are metric=, by=, out=. Did you mean metric=fid?"),
        ("nothing=1", "unknown option 'nothing'; the options are metric=, by=, out=."),
        ("loss=*", "unknown option 'loss'; the options are metric=, by=, out=."),
        (
            "bogus",
            "there is no file or folder 'bogus', nor an option of this name; the options are metric=, by=, out=.",
        ),
        ("metric", "nor an option of this name; the options are metric=, by=, out=. Did you mean metric=...?"),
        ("", "there is no file or folder ''"),
        ("--by=loss", "unknown argument '--by=loss': options are written without dashes; .* Did you mean by=loss?"),
        ("--foo", "unknown argument '--foo': options are written without dashes; the options are metric=, by=, out=."),
        ("-m", "unknown argument '-m'"),
        ("--x=*", "unknown argument '--x=.'"),
        ("by=", "by= needs a value"),
        ("a" * 300, "there is no file or folder"),
    ],
)
def test_what_is_neither_is_named(here: Path, word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as raised:
        read("run", word)
    assert "\n" not in str(raised.value)


def test_an_option_given_twice_is_refused(here: Path) -> None:
    with pytest.raises(ValueError, match="by= is given twice, as a and as b: leave out one"):
        read("by=a", "run", "by=b")


@pytest.mark.parametrize(("words", "code"), [((), 2), (("-h",), 0), (("--help",), 0), (("bogus", "--help"), 0)])
def test_the_usage(words: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        read(*words)
    assert raised.value.code == code
    assert capsys.readouterr() == ("the usage\n", "")
