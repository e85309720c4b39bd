"""What watches pages in the other tests: it complains of what is missing, and of nothing else."""

import pytest

from tests.support.browser import chromium, pictures_arrive, watched


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def picture(tmp_path):
    """A page with a picture that is not there."""
    page = tmp_path / "page.html"
    page.write_text('<img src="missing.webp">', encoding="utf-8")
    return page


def test_a_picture_that_is_missing_is_a_complaint(picture, browser):
    complains = pytest.raises(AssertionError, match=r"missing\.webp")
    with complains, watched(browser, picture.parent.as_uri()) as page:
        page.goto(picture.as_uri())
        assert not pictures_arrive(page)


def test_a_picture_on_its_way_when_the_page_is_left_is_none(picture, browser):
    abandoned = []
    with watched(browser, picture.parent.as_uri()) as page:
        page.on("requestfailed", lambda some: abandoned.append(some.url))
        page.route("**/missing.webp", lambda route: None)  # never answered
        page.goto(picture.as_uri(), wait_until="commit")
        page.wait_for_function("document.images.length == 1")
        page.goto("data:text/html,elsewhere")
    assert [url.rsplit("/", 1)[1] for url in abandoned] == ["missing.webp"]
