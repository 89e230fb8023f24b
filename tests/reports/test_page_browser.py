"""The written page in a browser: whole without a network, sorted by a click, readable at a desk and on a phone."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recognition_folders import WRONG, spoken
from recognition_folders import write_recogniser as write_run
from speech_folders import write_pipeline as write_speakers
from test_recognition_page import write_audio

from kd_lightning.reports.page import write_report

pytestmark = pytest.mark.slow

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
DESK, PHONE = 1280, 390
MADE = {
    "started": "2026-01-31T09:30:59+00:00",
    "command": "python -m kd_lightning.pipeline " + " ".join(f"some.long.key_{n}={n}" for n in range(20)),
    "commit": 40 * "a",
    "versions": {"python": "3.11.9", "torch": "2.11.0", "torchaudio": "2.11.0", "pytorch-lightning": "2.6.6"},
}


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make install")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The page of recognisers, and that of networks that speak, each alone in a folder."""
    runs = tmp_path_factory.mktemp("runs")
    for stage, share in WRONG.items():
        write_run(runs / "recognition" / stage, stage, spoken(share), results=MADE)
    for row in spoken(0)[:60]:
        write_audio(runs / "recognition" / "finetune", row["cut"])
    write_speakers(runs / "synthesis", heard=1)
    pages = {}
    for task in ("recognition", "synthesis"):
        alone = tmp_path_factory.mktemp(task) / "page.html"
        shutil.copy(write_report(runs / task) / "index.html", alone)
        pages[task] = alone
    return pages


@pytest.fixture
def opened(browser, reports):
    """Open a page; at the end nothing was complained of, and nothing was asked of anyone."""
    contexts, complaints, asked = [], [], []

    def at(task: str = "recognition", width: int = DESK, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(reports[task].as_uri())
        return page

    yield at
    for context in contexts:
        context.close()
    assert complaints == []
    pages = {page.as_uri() for page in reports.values()}
    assert [url for url in asked if not url.startswith("data:") and url.partition("#")[0] not in pages] == []


def column(table, place: int) -> list[str]:
    return table.locator(f"tbody tr td:nth-child({place + 1})").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("task", ["recognition", "synthesis"])
def test_the_page_fits_and_is_not_blank(opened, task, width, scheme):
    page = opened(task, width, scheme)
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("L"), dtype=float)
    assert picture.shape[1] == width
    assert picture.shape[0] > 3000
    assert (picture.mean() > 160) == (scheme == "light")
    # Ink in every part of the page, from its top to its end.
    assert all(part.std() > 5 for part in np.array_split(picture, 10))
    shown = page.locator("img").evaluate_all("all => all.map(one => one.complete && one.naturalWidth)")
    assert shown
    assert all(width > 300 for width in shown)


def test_a_table_that_is_too_wide_scrolls_in_its_own_box(opened):
    page = opened(width=PHONE)
    boxes = page.locator("section .scroll").evaluate_all(
        "all => all.map(box => [box.scrollWidth > box.clientWidth, box.getBoundingClientRect().right])"
    )
    assert any(scrolls for scrolls, _ in boxes)
    assert all(right <= PHONE for _, right in boxes)


def test_a_click_sorts_by_value_up_down_and_back(opened):
    page = opened()
    table = page.get_by_role("region", name="Cost").locator("table")
    names = table.locator("thead th").all_inner_texts()
    place = names.index("params")
    head, button = table.locator("th").nth(place), table.get_by_role("button", name="params")
    written = column(table, place)
    assert written == ["612,004", "64,118", "64,118", "64,118"]
    for order, expected in (
        ("ascending", ["64,118", "64,118", "64,118", "612,004"]),  # as text 612,004 would come first
        ("descending", ["612,004", "64,118", "64,118", "64,118"]),
        ("none", written),
    ):
        button.click()
        assert head.get_attribute("aria-sort") == order
        assert column(table, place) == expected
    stages = column(table, 0)
    assert stages == list(WRONG)


def test_keys_sort_and_another_column_takes_over(opened):
    page = opened()
    table = page.get_by_role("region", name="Words that the student lost").locator("table")
    said, lost = table.get_by_role("button").first, table.get_by_role("button").last
    lost.focus()
    page.keyboard.press("Enter")
    numbers = [int(cell) for cell in column(table, 5)]
    assert numbers == sorted(numbers)
    assert numbers[0] < numbers[-1]
    page.keyboard.press("Space")
    assert [int(cell) for cell in column(table, 5)] == sorted(numbers, reverse=True)
    said.focus()
    page.keyboard.press("Enter")
    words = column(table, 0)
    assert words == sorted(words)
    states = table.locator("th").evaluate_all("all => all.map(head => head.getAttribute('aria-sort'))")
    assert states == ["ascending", *["none"] * 5]


def test_what_is_unknown_stays_last_and_noise_has_its_order(opened):
    page = opened()
    errors = page.get_by_role("region", name="Errors, and agreement with the teacher").locator("table")
    button = errors.get_by_role("button", name="same as teacher")
    for _ in range(2):
        button.click()
        assert column(errors, 0)[-1] == "teacher"
    noise = page.get_by_role("region", name="WER by noise level").locator("table")
    levels = column(noise, 0)
    assert levels[0] == "clean or unknown"
    head = noise.get_by_role("button", name="signal to noise")
    head.click()
    assert column(noise, 0) == levels
    head.click()
    assert column(noise, 0) == levels[::-1]


def test_the_config_opens_and_the_sound_plays(opened):
    page = opened()
    config = page.locator("details", has_text="Config of finetune")
    assert not config.locator("pre").is_visible()
    config.locator("summary").click()
    assert "labelled_fraction: 0.25" in config.locator("pre").inner_text()
    seconds = page.locator("audio").first.evaluate(
        "sound => sound.readyState ? sound.duration"
        " : new Promise(done => sound.onloadedmetadata = () => done(sound.duration))"
    )
    assert seconds == pytest.approx(800 / 16000, abs=0.01)


def test_a_link_of_the_list_of_sections_leads_there(opened):
    page = opened(width=PHONE)
    page.get_by_role("link", name="Where the runs come from").click()
    heading = page.get_by_role("heading", name="Where the runs come from")
    assert heading.bounding_box()["y"] < 900
