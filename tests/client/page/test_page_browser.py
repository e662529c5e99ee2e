"""The page in a real headless Chromium, against the real server with the shipped weights."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from browsing import PATIENCE_MS, Browser, box_of
from PIL import Image

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900)]

REPO_ROOT = Path(__file__).resolve().parents[3]
SAMPLES = REPO_ROOT / "demo" / "samples"
SHARED = REPO_ROOT.parent / "shared" / "data"
PICTURES = os.environ.get("ORGANSEG_PAGE_PICTURES")
"""A folder for screenshots; without it none are written."""


def write_picture(browser: Browser, name: str) -> None:
    if PICTURES:
        folder = REPO_ROOT / PICTURES
        folder.mkdir(parents=True, exist_ok=True)
        browser.tab.screenshot(path=str(folder / f"page_{name}.png"), timeout=PATIENCE_MS)


@pytest.fixture
def browser(chromium, page_process):
    """A tab with the page; at the end nothing may have been asked of any other site."""
    context = chromium.new_context(
        viewport={"width": 1360, "height": 860}, color_scheme="dark", accept_downloads=True
    )
    context.set_default_timeout(PATIENCE_MS)
    tab = context.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "console",
        lambda said: (
            complaints.append(said.text)
            if said.type == "error" and "Failed to load resource" not in said.text
            else None
        ),
    )
    # From now on Playwright answers the system's file dialog, however soon it comes.
    tab.on("filechooser", lambda chooser: None)
    browser = Browser(tab)
    browser.visit(page_process.url)
    yield browser
    context.close()
    outside = [url for url in requests if not url.startswith((page_process.url, "data:", "blob:"))]
    assert outside == []
    # Chromium tells violations of the content security policy on the console, as errors.
    assert complaints == []


@pytest.fixture
def scan() -> tuple[Path, int]:
    """A real scan and a slice of it that shows liver and right kidney; a phantom's without."""
    if SHARED.is_dir():
        return SHARED / "ts_ct" / "image.nii.gz", 80
    return SAMPLES / "ct_upper_abdomen.png", 1


def test_three_questions_change_what_is_coloured_and_the_history_brings_them_back(browser, scan):
    path, slice_number = scan
    browser.open(path)
    browser.turn_to(slice_number)
    assert not browser.coloured("liver").any()

    assert browser.ask("Segment the liver.") == "segmented"
    liver = browser.coloured("liver")
    assert liver.sum() > 100
    assert "The image shows the liver." in browser.card
    assert re.search(r"\d+ % sure of the outline", browser.card)
    assert browser.tab.locator("#boxes .box-name").text_content() == "liver"

    assert browser.ask("Where is the right kidney?") == "segmented"
    assert browser.coloured("right kidney").sum() > 50
    assert browser.coloured("liver").sum() < 0.2 * liver.sum()
    write_picture(browser, "answer")

    assert browser.ask("Which organ is responsible for breathing?") == "out_of_scope"
    assert not browser.coloured("right kidney").any()
    assert "none of the 13 organs" in browser.card
    assert "null" not in browser.card
    assert browser.tab.locator("#boxes .box").count() == 0
    write_picture(browser, "false_premise")

    browser.tab.locator("#history-list button").first.click()
    browser.tab.wait_for_selector("#answer[data-number='1']")
    again = browser.coloured("liver")
    assert np.count_nonzero(again != liver) < 0.02 * liver.sum() + 5

    browser.tab.reload()
    browser.tab.wait_for_selector("#history-list li:nth-child(3)", timeout=PATIENCE_MS)
    browser.tab.locator("#history-list button").first.click()
    assert browser.coloured("liver").sum() > 100


def test_colours_lie_where_the_mask_says_and_left_stays_left(browser, page_process):
    browser.open(SAMPLES / "ct_upper_abdomen.png")
    assert browser.ask("Segment the spleen.") == "segmented"
    identity = browser.tab.evaluate("location.hash.slice(1)")
    status, _, labels = page_process.ask("GET", f"/api/scans/{identity}/answers/1/labels")
    assert status == 200
    import gzip

    mask = np.frombuffer(gzip.decompress(labels), dtype=np.uint8).reshape(320, 320) > 0
    stage = browser.coloured("spleen")
    height, width = stage.shape
    scale = min(width, height) / 320
    offset = np.array([(width - 320 * scale) / 2, (height - 320 * scale) / 2] * 2)
    assert np.abs((box_of(stage) - offset) / scale - box_of(mask)).max() < 2.5
    # The phantom's spleen is on the patient's left, which is the viewer's right.
    assert np.nonzero(stage)[1].mean() > width / 2


def test_an_organ_that_the_slice_does_not_show_is_called_absent(browser):
    browser.open(SAMPLES / "ct_pelvis.png")
    assert browser.ask("Where is the liver?") == "absent_in_image"
    assert "does not show the liver" in browser.card
    assert re.search(r"\d+ % likely to be here", browser.card)
    assert not browser.coloured("liver").any()
    announced = browser.tab.locator("#live")
    announced.filter(has_text="Not in this image").wait_for(state="attached")


def test_a_server_that_was_killed_is_told_in_words_and_retry_goes_on(browser, shipped_server):
    browser.open(SAMPLES / "ct_upper_abdomen.png")
    assert browser.ask("Segment the liver.") == "segmented"
    shipped_server.stop()
    try:
        browser.tab.fill("#question", "Segment the spleen.")
        browser.tab.press("#question", "Enter")
        browser.tab.wait_for_selector("#notice:not([hidden])", timeout=PATIENCE_MS)
        notice = browser.tab.inner_text("#notice")
        assert "The server does not answer" in notice
        assert f"Nothing answers at {shipped_server.address}" in notice
        assert "make serve" in notice
        assert "Your image and your questions are kept." in notice
        assert browser.tab.input_value("#question") == "Segment the spleen."
        assert browser.coloured("liver").sum() > 100
        write_picture(browser, "server_gone")
        browser.tab.wait_for_selector("#server .dot[data-state='bad']", timeout=PATIENCE_MS)
    finally:
        shipped_server.start()
    # As a person would: once the page says that the server answers again.
    browser.tab.wait_for_selector("#server .dot[data-state='good']", timeout=PATIENCE_MS)
    browser.tab.click("#retry")
    browser.tab.locator("#history-list li").nth(1).wait_for(timeout=PATIENCE_MS)
    assert browser.verdict == "segmented"
    assert browser.coloured("spleen").sum() > 50
    assert browser.tab.is_hidden("#notice")


def test_everything_can_be_done_with_the_keyboard(browser, scan):
    path, _ = scan
    keyboard = browser.tab.keyboard
    with browser.tab.expect_file_chooser() as chooser:
        keyboard.press("o")
    with browser.tab.expect_response(lambda answer: "image.nii" in answer.url):
        chooser.value.set_files(str(path))
    browser.tab.wait_for_selector("#busy", state="hidden")
    browser.tab.wait_for_selector("#question:focus")
    keyboard.type("Segment the liver.")
    keyboard.press("Enter")
    browser.tab.wait_for_selector("#answer[data-number='1']", timeout=PATIENCE_MS)
    # Typing o, q or h in the text box must stay typing.
    assert browser.tab.input_value("#question") == "Segment the liver."
    keyboard.press("Escape")
    before = browser.tab.input_value("#slice")
    if browser.tab.is_visible("#slice"):
        assert before == "56"
        keyboard.press("ArrowUp")
        assert int(browser.tab.input_value("#slice")) == int(before) + 1
        keyboard.press("Home")
        assert browser.tab.input_value("#slice") == "1"
        assert browser.tab.get_attribute("#canvas", "aria-label").startswith("Slice 1 of ")
        keyboard.press("[")
    keyboard.press("?")
    browser.tab.wait_for_selector("#help-dialog[open]")
    browser.tab.uncheck("#use-keys")
    keyboard.press("Escape")
    browser.tab.wait_for_selector("#help-dialog", state="hidden")
    keyboard.press("t")
    assert browser.tab.get_attribute("html", "data-theme") == "dark"


def test_the_focus_goes_through_the_page_in_the_order_it_is_read(browser):
    browser.open(SAMPLES / "ct_upper_abdomen.png")
    browser.ask("Segment the liver.")
    browser.tab.focus(".skip")
    seen = []
    for _ in range(40):
        browser.tab.keyboard.press("Tab")
        where = browser.tab.evaluate(
            "document.activeElement.id || document.activeElement.closest('[id]')?.id || ''"
        )
        if where and where not in seen:
            seen.append(where)
    wanted = ["server", "theme", "help", "canvas", "zoom-in", "opacity", "question"]
    assert [each for each in seen if each in wanted] == wanted
    for place in ("submit", "answer", "history-list"):
        assert seen.index(place) > seen.index("question")


def test_an_answer_is_explained_in_words_that_say_what_the_mask_says(browser):
    browser.open(SAMPLES / "ct_upper_abdomen.png")
    browser.ask("Segment the liver.")
    browser.tab.click("#explain:enabled")
    browser.tab.wait_for_selector("#explanation[aria-busy=false]")
    words = browser.tab.inner_text("#explanation")
    assert "liver" in words
    browser.tab.reload()
    browser.tab.wait_for_selector("#explanation:not([hidden])")
    assert browser.tab.inner_text("#explanation") == words


def test_junk_is_refused_on_the_page_and_the_open_image_stays(browser, tmp_path):
    browser.open(SAMPLES / "ct_upper_abdomen.png")
    junk = tmp_path / "<img src=x onerror=alert(1)>.png"
    junk.write_bytes(b"no image at all")
    browser.tab.set_input_files("#pick-files", str(junk))
    browser.tab.wait_for_selector("#notice:not([hidden])", timeout=PATIENCE_MS)
    assert "bytes that start as none of them" in browser.tab.inner_text("#notice")
    assert browser.tab.inner_text("#scan-name") == "ct_upper_abdomen.png"
    assert browser.ask("Segment the liver.") == "segmented"


def test_a_dicom_series_is_asked_as_a_whole_and_taken_home(browser, shared_data, tmp_path):
    series = sorted((shared_data / "ts_dicom" / "dicom").iterdir())
    browser.open(*series)
    assert "CT · 512 × 512 × 20" in browser.tab.inner_text("#scan-facts")
    browser.tab.check("input[name=scope][value=volume]", force=True)
    assert browser.ask("Segment the liver.") == "segmented"
    assert re.search(r"[\d.]+ mL · slices \d+ to \d+", browser.card)
    assert browser.coloured("liver").sum() > 100
    browser.tab.check("input[name=view][value=planes]", force=True)
    write_picture(browser, "planes")
    with browser.tab.expect_download() as download:
        browser.tab.click("text=Mask NIfTI")
    download.value.save_as(tmp_path / "mask.nii.gz")
    nibabel = pytest.importorskip("nibabel")
    mask = np.asarray(nibabel.load(tmp_path / "mask.nii.gz").dataobj)
    assert set(np.unique(mask)) == {0, 1}
    # This series was freed of all identifiers, so nothing can refer to it.
    browser.tab.click("text=DICOM-SEG")
    browser.tab.wait_for_selector("#notice:not([hidden])", timeout=PATIENCE_MS)
    assert "came some without SeriesInstanceUID" in browser.tab.inner_text("#notice")


def test_a_series_with_identifiers_is_taken_home_as_dicom_seg(browser, shared_data, tmp_path):
    browser.open(*sorted((shared_data / "dcmqi_liver").glob("0*.dcm")))
    assert browser.ask("Segment the liver.") == "segmented"
    with browser.tab.expect_download() as download:
        browser.tab.click("text=DICOM-SEG")
    path = tmp_path / "seg.dcm"
    download.value.save_as(path)
    pydicom = pytest.importorskip("pydicom")
    segmentation = pydicom.dcmread(path)
    assert segmentation.Modality == "SEG"
    assert [each.SegmentLabel for each in segmentation.SegmentSequence] == ["liver"]


def test_a_question_about_a_whole_volume_shows_its_progress_and_can_be_cancelled(browser, scan):
    path, _ = scan
    if path.suffix == ".png":
        pytest.skip("the real scans (../shared/data) are not on this machine")
    browser.open(path)
    browser.tab.check("input[name=scope][value=volume]", force=True)
    browser.tab.fill("#question", "Segment the liver.")
    browser.tab.press("#question", "Enter")
    counted = browser.tab.locator("#progress-text", has_text=re.compile(r"^[1-9]\d* of 112 slices"))
    counted.wait_for(timeout=PATIENCE_MS)
    browser.tab.click("#cancel")
    browser.tab.wait_for_selector("#progress", state="hidden")
    assert browser.tab.is_hidden("#answer")
    browser.tab.check("input[name=scope][value=slice]", force=True)
    browser.turn_to(80)
    assert browser.ask("Segment the liver.") == "segmented"


def test_a_slices_mask_is_taken_home_as_a_picture_of_organ_ids(browser, tmp_path):
    browser.open(SAMPLES / "ct_upper_abdomen.png")
    browser.ask("Segment the liver.")
    with browser.tab.expect_download() as download:
        browser.tab.click("text=Mask PNG")
    assert download.value.suggested_filename == "ct_upper_abdomen_answer1_mask.png"
    download.value.save_as(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.size == (320, 320)
        assert set(np.unique(np.asarray(picture))) == {0, 1}


def test_light_and_dark_are_both_whole(browser):
    browser.open(SAMPLES / "ct_upper_abdomen.png")
    browser.ask("Outline the liver and the spleen.")
    grounds = []
    for _ in range(2):
        grounds.append(browser.tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        if browser.tab.get_attribute("html", "data-theme") == "light":
            write_picture(browser, "light")
        browser.tab.click("#theme")
    assert grounds[0] != grounds[1]
    assert "Research use only" in browser.tab.inner_text("header")
    assert "tiny" in browser.tab.inner_text("#server")
