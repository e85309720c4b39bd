"""The system's Chromium, and a page of it that keeps all that ran, spoke or left."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
# Attributes that run something, addresses that do, and canaries that sing.
RUNNING = """() => {
  const addresses = ['href', 'src', 'action', 'formaction', 'xlink:href', 'data'];
  const runs = ({name, value}) => name.startsWith('on') || addresses.includes(name) && /^\\s*(javascript|vbscript|data:text)/i.test(value);
  const attributes = [...document.querySelectorAll('*')].flatMap((some) => [...some.attributes]);
  const found = attributes.filter(runs).map(({name, value}) => `${name}=${value}`);
  return [...found, ...[window, Object.prototype, Object].filter((some) => 'pwned' in some).map(String)];
}"""

ARRIVING = """async () => {
  const pictures = [...document.images];
  for (const picture of pictures) picture.loading = 'eager';
  const arrived = await Promise.allSettled(pictures.map((picture) => picture.decode()));
  return arrived.every(({status}) => status === 'fulfilled');
}"""


@contextmanager
def chromium() -> Iterator:
    """A browser; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if BROWSER is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def watched(browser, inside: str, **settings) -> Iterator:
    """A page in which nothing may run but the project's scripts, and which may load nothing but what begins with `inside`."""
    with watched_tabs(browser, inside, 1, **settings) as (page,):
        yield page


@contextmanager
def watched_tabs(browser, inside: str, count: int, **settings) -> Iterator[list]:
    """Several such pages, which can load at the same time."""
    context = browser.new_context(bypass_csp=False, **settings)
    wrong: list[str] = []
    pages = [context.new_page() for _ in range(count)]
    for page in pages:
        _listen(page, inside, wrong)
    yield pages
    context.close()
    assert not wrong, wrong


def _listen(page, inside: str, wrong: list[str]) -> None:
    page.on(
        "console",
        lambda message: None if message.type == "warning" else wrong.append(f"said: {message.text} ({page.url})"),
    )
    page.on("pageerror", lambda error: wrong.append(f"error: {error} ({page.url})"))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message} ({page.url})"), dialog.dismiss()))
    page.on("requestfailed", lambda some: None if _left_behind(some) else wrong.append(f"failed: {some.url}"))
    page.on("popup", lambda some: wrong.append(f"popup: {some.url}"))
    page.on(
        "request", lambda some: None if some.url.startswith((inside, "data:")) else wrong.append(f"left: {some.url}")
    )


def _left_behind(request) -> bool:
    """Whether a picture was still on its way when its page was left: lazy pictures do not hold a page's load up."""
    return request.resource_type == "image" and request.failure == "net::ERR_ABORTED"


def pictures_arrive(page) -> bool:
    """Whether every picture of a page can be shown, also those that are loaded when they come into view."""
    return page.evaluate(ARRIVING)


def nothing_ran(page) -> bool:
    """Whether no canary sings and no element could make one."""
    return page.evaluate(RUNNING) == []
