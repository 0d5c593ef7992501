import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm_lightning.report.rendering.write_report import write_report

pytestmark = pytest.mark.slow

NASTY = "</script><script>document.title = 'broken'</script>"
ROWS_SEEN = "elements => elements.filter(element => element.checkVisibility()).map(element => element.dataset.row)"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        # Chromium refuses to run its sandbox as root, the user in containers; the page is trusted.
        chromium = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_report(browser, make_table, tmp_path: Path):
    """`open_report(choices)`: the page, its list of console messages and errors, and its list of requests."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})

    def open_it(choices: dict[str, list[str]], **options):
        complaints, requests = [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        write_report(make_table(choices, seeds=(0, 1), logs=True, **options), tmp_path, "Report", "command")
        page.goto((tmp_path / "report.html").as_uri())
        return page, complaints, requests

    yield open_it
    page.close()


def order(page) -> list[int]:
    return [int(row) for row in page.locator("#scores tbody tr").evaluate_all(ROWS_SEEN)]


def shown(page, selector: str) -> set[int]:
    return {int(row) for row in page.locator(selector).evaluate_all(ROWS_SEEN)}


CHOICES = {"schedule": ["cosine", "linear"], "sampler.steps": ["5", "100", "25"]}


def test_the_page_needs_no_network_and_has_no_errors(open_report, tmp_path):
    page, complaints, requests = open_report(CHOICES)
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    picture = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"))
    assert picture.shape[1] == 1300 and picture.shape[0] > 900
    assert picture.std() > 10
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    loaded = "images => images.filter(image => image.naturalWidth > 400 && image.width > 400).map(image => image.alt)"
    assert page.locator(".plot img").evaluate_all(loaded) == [
        "Scores with 95 % intervals",
        "Scores against the number of sampling steps",
        "Training curves",
        "Main effects with 95 % intervals",
    ]
    assert page.locator("#samples img").evaluate_all("images => images.every(image => image.naturalWidth > 400)")
    assert complaints == []
    assert all(url.startswith(("file:", "data:")) for url in requests)


def test_a_click_sorts_a_column_in_both_directions(open_report):
    page, complaints, _ = open_report(CHOICES)
    # The numbers of steps of the fixture's rows are 5, 100, 25, 5, 100, 25.
    assert order(page) == [0, 1, 2, 3, 4, 5]
    header = page.locator("#scores th", has_text="sampler.steps")
    assert header.get_attribute("aria-sort") == "none"
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert order(page) == [0, 3, 2, 5, 1, 4]
    assert page.locator("#scores th[aria-sort=ascending]").count() == 1
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert order(page) == [1, 4, 2, 5, 0, 3]
    # The samples follow.
    samples = page.locator("#samples figure").evaluate_all("figures => figures.map(figure => figure.dataset.row)")
    assert samples == ["1", "4", "2", "5", "0", "3"]
    assert complaints == []


def test_the_keyboard_sorts_a_column(open_report):
    page, _, _ = open_report(CHOICES)
    page.locator("#scores th", has_text="wall time").locator("button").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert order(page) == [5, 4, 3, 2, 1, 0]


def test_numbers_come_before_words_and_missing_values_last(open_report):
    page, _, _ = open_report({"guidance.scale": ["none", "10", "2"]})
    # The key of a row without a score.
    page.evaluate("document.querySelector('#scores [data-row=\"1\"] td:nth-child(2)').dataset.key = ''")
    button = page.locator("#scores th", has_text="KID").locator("button")
    button.click()
    assert order(page) == [2, 0, 1]
    button.click()
    assert order(page) == [0, 2, 1]
    page.locator("#scores th", has_text="guidance.scale").locator("button").click()
    assert order(page) == [2, 1, 0]


def test_unticked_choices_are_hidden_everywhere(open_report):
    page, complaints, _ = open_report(CHOICES)
    everywhere = ["#scores tbody tr", "#samples figure"]
    assert all(shown(page, part) == {0, 1, 2, 3, 4, 5} for part in everywhere)
    page.get_by_label("linear").uncheck()
    assert all(shown(page, part) == {0, 1, 2} for part in everywhere)
    page.get_by_label("25", exact=True).uncheck()
    assert all(shown(page, part) == {0, 1} for part in everywhere)
    assert page.locator("#shown").text_content() == "2 of 6 configurations are shown."
    assert page.locator(".plot:visible").count() == 4
    page.get_by_label("cosine").uncheck()
    assert all(shown(page, part) == set() for part in everywhere)
    page.get_by_role("button", name="Show all").click()
    page.locator("#shown", has_text="6 of 6").wait_for()
    assert all(shown(page, part) == {0, 1, 2, 3, 4, 5} for part in everywhere)
    assert complaints == []


def test_a_choice_that_looks_like_a_script_is_only_text(open_report):
    page, complaints, _ = open_report({NASTY: [NASTY, "b"]})
    assert page.title() == "Report"
    page.locator("input").first.uncheck()
    assert order(page) == [1]
    assert complaints == []
