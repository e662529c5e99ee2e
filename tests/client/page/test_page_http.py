"""The page's HTTP interface: what it refuses, what its errors say, what its answers carry."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from page_process import NOBODY, running_command, running_page

import organseg_client.page
from organseg.errors import InvalidInputError, NothingSegmentedError, NotServedError
from organseg_client.page.options import PageOptions, new_token
from organseg_client.page.serving import page_url
from organseg_client.page.words import describe

STATIC = Path(organseg_client.page.__file__).parent / "static"
KEYS = STATIC / "js" / "keys.js"
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "page.md"
SAMPLES = Path(__file__).resolve().parents[3] / "demo" / "samples"


def problem_of(body: bytes) -> dict[str, object]:
    return json.loads(body)["error"]


def test_the_command_prints_the_address_and_opens_the_scan_it_was_given():
    sample = SAMPLES / "ct_upper_abdomen.png"
    with running_command(str(sample), "--port", "0", "--url", NOBODY) as page:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", page.url)
        facts = json.loads(page.ask("GET", "/api/page")[2])
        scan = json.loads(page.ask("GET", f"/api/scans/{facts['first_scan']}")[2])
    assert scan["name"] == "ct_upper_abdomen.png"
    assert facts["servers"] == [NOBODY]
    assert len(facts["organs"]) == 13


def test_every_answer_allows_only_the_pages_own_content(lonely_page):
    for path in ("/", "/static/js/main.js", "/api/page", "/nowhere"):
        _, headers, _ = lonely_page.ask("GET", path)
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    assert lonely_page.ask("GET", "/api/page")[1]["cache-control"] == "no-store"


def test_a_rebound_name_and_another_sites_requests_are_refused(lonely_page):
    port = lonely_page.address[1]
    status, _, body = lonely_page.ask("GET", "/api/page", host=f"evil.example:{port}")
    assert (status, problem_of(body)["kind"]) == (421, "refused")
    status, _, body = lonely_page.ask("POST", "/api/scans", b"", origin="https://evil.example")
    assert (status, problem_of(body)["title"]) == (403, "Not allowed")


def test_beyond_loopback_everything_wants_the_token():
    token = new_token()
    with running_page(f"servers=({NOBODY!r},), host='0.0.0.0', port=0, token={token!r}") as page:
        assert page.url.endswith(f"/?token={token}")
        for path in ("/", "/static/js/main.js", "/api/page", "/?token=wrong"):
            status, headers, body = page.ask("GET", path)
            assert status == 401
            assert "set-cookie" not in headers
            assert token not in body.decode()
        assert page.ask("POST", "/api/scans", b"")[0] == 401
        status, headers, _ = page.ask("GET", f"/?token={token}")
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "HttpOnly; SameSite=Lax" in cookie
        assert page.ask("GET", "/", cookie=cookie.partition(";")[0])[0] == 200
        assert page.ask("GET", "/api/page", authorization=f"Bearer {token}")[0] == 200


def test_a_page_that_others_can_reach_is_never_without_a_token():
    with pytest.raises(InvalidInputError, match=r"wanted a token for a page at 0\.0\.0\.0"):
        PageOptions(host="0.0.0.0")
    assert "s3cret" not in repr(PageOptions(host="0.0.0.0", token="s3cret"))
    assert page_url(PageOptions(host="::1"), 80) == "http://[::1]:80/"


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        ([("report.pdf", b"%PDF-1.7 nothing")], 422, "came bytes that start as none of them"),
        ([("empty.png", b"")], 422, "came 0 bytes"),
        ([("scan.nii.gz", b"\x1f\x8b broken")], 422, "which is missing or no readable NIfTI"),
        ([("scan.png", b"\x89PNG\r\n\x1a\n and no more")], 422, "truncated or damaged"),
        ([("a.png", b"x"), ("b.png", b"y")], 422, "none is DICOM"),
        ([], 422, "wanted a file, came none"),
        ([("../../../etc/cron.d/x", b"junk")], 422, "came bytes that start as none of them"),
    ],
)
def test_junk_is_refused_with_helpful_words(lonely_page, files, status, words):
    got, answer = lonely_page.upload(*files)
    assert got == status
    assert words in answer["error"]["words"]
    assert "/" not in answer["error"]["words"].replace("and/or", "").replace(".nii/.nii.gz", "")


def test_uploads_are_bounded_in_bytes_and_files():
    limits = "limits=PageLimits(upload_bytes=20_000, upload_files=2)"
    with running_page(f"servers=({NOBODY!r},), port=0, {limits}") as page:
        status, answer = page.upload(("big.png", b"\0" * 30_000))
        assert (status, answer["error"]["kind"]) == (413, "too_large")
        status, answer = page.upload(*[(f"{each}.dcm", b"x") for each in range(3)])
        assert status == 413
        assert "at most 2 files" in answer["error"]["words"]


def test_a_body_that_is_longer_than_it_says_is_cut_off_at_the_bound():
    limits = "limits=PageLimits(upload_bytes=20_000)"
    with running_page(f"servers=({NOBODY!r},), port=0, {limits}") as page:
        status, _, body = page.ask(
            "POST",
            "/api/scans",
            b"".join(b"%x\r\n%b\r\n" % (10_000, b"\0" * 10_000) for _ in range(5)) + b"0\r\n\r\n",
            transfer_encoding="chunked",
            content_type="multipart/form-data; boundary=x",
        )
    assert status == 413
    assert problem_of(body)["kind"] == "too_large"


def test_a_body_that_is_no_form_is_bad_input_and_not_too_large(lonely_page):
    status, _, body = lonely_page.ask(
        "POST", "/api/scans", b"no form", content_type="multipart/form-data; boundary=x"
    )
    assert (status, problem_of(body)["kind"]) == (422, "bad_input")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NothingSegmentedError("wanted a file, came no organ; ask"), "nothing_segmented"),
        (NotServedError("wanted the model, it is left out; serve another"), "not_served"),
    ],
)
def test_what_cannot_succeed_is_no_fault_and_offers_no_retry(error, kind):
    problem = describe(error, (NOBODY,))
    assert (problem.kind, problem.can_retry, problem.words) == (kind, False, str(error))


def test_without_a_server_the_answer_says_where_it_was_looked_for_and_how_to_start_it(lonely_page):
    _, scan = lonely_page.upload(("slice.png", (SAMPLES / "ct_upper_abdomen.png").read_bytes()))
    asked = {"question": "Where is the liver?", "scope": "slice", "slice_index": 0}
    status, _, body = lonely_page.ask("POST", f"/api/scans/{scan['id']}/answers", asked)
    problem = problem_of(body)
    assert (status, problem["kind"], problem["can_retry"]) == (503, "server_unreachable", True)
    assert f"Nothing answers at {NOBODY}" in problem["words"]
    assert problem["command"] == "make serve"
    assert "are kept" in problem["hint"]
    facts = json.loads(lonely_page.ask("GET", "/api/server")[2])
    assert facts["problem"]["kind"] == "server_unreachable"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"question": 7, "scope": "slice", "slice_index": 0}',
        b'{"question": "x", "scope": "planet", "slice_index": 0}',
        b'{"question": "x", "scope": "slice", "slice_index": true}',
        b"\xff\xfe",
        b'{"question": "' + b"x" * 20_000 + b'"}',
    ],
)
def test_a_question_of_another_shape_is_refused(lonely_page, body):
    _, scan = lonely_page.upload(("slice.png", (SAMPLES / "ct_upper_abdomen.png").read_bytes()))
    status, _, answer = lonely_page.ask("POST", f"/api/scans/{scan['id']}/answers", body)
    assert status == 422
    assert problem_of(answer)["kind"] == "bad_input"


def test_a_scan_that_was_closed_is_told_from_a_fault(lonely_page):
    _, scan = lonely_page.upload(("slice.png", (SAMPLES / "ct_upper_abdomen.png").read_bytes()))
    assert lonely_page.ask("DELETE", f"/api/scans/{scan['id']}")[0] == 204
    for path in ("", "/image.nii", "/answers/1/labels", "/answers/1/files/mask.png"):
        status, _, body = lonely_page.ask("GET", f"/api/scans/{scan['id']}{path}")
        assert (status, problem_of(body)["kind"]) == (410, "scan_closed")


def test_the_vendored_viewer_is_the_file_that_its_note_says():
    folder = STATIC / "vendor" / "niivue"
    note = json.loads((folder / "VERSION.json").read_text())
    assert hashlib.sha256((folder / note["file"]).read_bytes()).hexdigest() == note["sha256"]
    assert "BSD 2-Clause" in (folder / "LICENSE").read_text()


def test_the_pages_own_files_are_short_and_name_no_other_site():
    own = [path for path in STATIC.rglob("*") if path.is_file() and "vendor" not in path.parts]
    assert len(own) > 10
    for path in own:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") < 400, path.name
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path.name
        assert not re.search(r"\bstyle=|innerHTML|\beval\(", text), path.name


def test_every_key_of_the_page_is_documented():
    rows = re.findall(r'^  \[\[.*?\], "(.+?)", ".+?", "\w+"\],$', KEYS.read_text(), re.MULTILINE)
    assert len(rows) > 15
    documented = set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", DOCUMENT.read_text()))
    assert set(rows) <= documented
