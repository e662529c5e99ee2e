"""Who may talk to the page: hosts, origins and tokens, decided from headers alone."""

from __future__ import annotations

import pytest

from organseg_client.page.access import AccessPolicy

LOCAL = AccessPolicy()
OPEN = AccessPolicy(token="s3cret-token")


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost:8090", "[::1]:8090", "LOCALHOST"])
def test_a_page_on_loopback_is_called_by_loopback_names(host):
    assert LOCAL.refusal("GET", {"host": host}) is None


@pytest.mark.parametrize(
    "host", ["", "evil.example:8090", "localhost.evil.example", "192.168.1.7:8090", "[", "0x7f.1"]
)
def test_a_name_that_was_rebound_to_loopback_is_refused(host):
    status, words = LOCAL.refusal("GET", {"host": host})
    assert status == 421
    assert "another host name" in words


@pytest.mark.parametrize("host", ["192.168.1.7:8090", "[fe80::1]:8090", "radiology-7:8090", "a.b"])
def test_where_a_token_is_asked_for_the_page_has_any_name_a_proxys_too(host):
    assert OPEN.refusal("GET", {"host": host}) is None
    assert OPEN.refusal("POST", {"host": host, "origin": f"https://{host}"}) is None
    assert OPEN.refusal("POST", {"host": host, "origin": "https://evil.example"})[0] == 403
    assert not OPEN.knows_token({"host": host})


def test_no_name_at_all_is_refused_with_a_token_too():
    assert OPEN.refusal("GET", {"host": ""})[0] == 421


@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
def test_a_post_that_another_site_made_is_refused(foreign):
    headers = {"host": "localhost:8090", **foreign}
    assert LOCAL.refusal("POST", headers)[0] == 403


def test_a_read_by_another_sites_script_is_refused_and_a_link_is_followed():
    script = {"host": "localhost:8090", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    assert LOCAL.refusal("GET", script)[0] == 403
    assert LOCAL.refusal("GET", {**script, "sec-fetch-mode": "navigate"}) is None


def test_the_pages_own_requests_pass():
    own = {"host": "localhost:8090", "origin": "http://localhost:8090"}
    assert LOCAL.refusal("POST", {**own, "sec-fetch-site": "same-origin"}) is None


def test_the_token_is_known_as_cookie_and_as_bearer():
    assert OPEN.knows_token({"cookie": "a=b; organseg_page_token=s3cret-token"})
    assert OPEN.knows_token({"authorization": "Bearer s3cret-token"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": "organseg_page_token=wrong"},
        {"cookie": "=;\x00"},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic s3cret-token"},
        {"authorization": "Bearer s3cret-tokeñ"},
    ],
)
def test_no_token_or_another_is_not_known(headers):
    assert not OPEN.knows_token(headers)


def test_the_policy_never_shows_its_token():
    assert "s3cret" not in repr(OPEN)
