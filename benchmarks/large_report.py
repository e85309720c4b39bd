"""Measure in Chromium how fast a list of twenty thousand features opens, and how fast it is searched.

``python -m benchmarks.large_report`` needs the checkout of a run (``make repro``) and the program ``chromium``. It copies the pages of
the report, and gives one encoder the index of so many features.
Times are from the start of the navigation, and from the input of a search, to the second frame that the browser draws afterwards.
"""

import json
import re
import shutil
import subprocess
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Annotated

import numpy as np
import typer

from falcon_dvc.artifacts.formats import write_json
from falcon_dvc.report.search_index import script
from tests.support.large_index import FEATURES, large_index

ROOT = Path(__file__).resolve().parents[1]

OUT = ROOT / "reports" / "benchmarks" / "large_report.json"
ENCODER = "supervised"
QUERIES = ("b", "ba", "ban1", "boat", "f123", "nothing at all")
SECONDS = 60  # until a browser that sends nothing is given up
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')  # it forbids the page to send what it measured
WATCH = """
const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))));
(async () => {
  const count = document.getElementById("count"), find = document.getElementById("find");
  while (!count.textContent) await drawn();
  const opened = await drawn(), searches = [];
  for (const query of %s) {
    const start = performance.now();
    find.value = query;
    find.dispatchEvent(new Event("input"));
    searches.push(await drawn() - start);
  }
  fetch("%s", { method: "POST", mode: "no-cors", body: JSON.stringify({ opened, searches, count: count.textContent }) });
})();
"""


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Starts of the browser, after one that is not counted.")] = 5,
    out: Annotated[Path, typer.Option(help="JSON file of the results.")] = OUT,
) -> None:
    """Open the list in a new browser some times; write the medians."""
    with tempfile.TemporaryDirectory(prefix="falcon-report-") as scratch:
        page = large(ROOT / "reports" / "site", Path(scratch) / "site")
        found = [opened(page, Path(scratch) / f"profile{number}") for number in range(repeats + 1)][1:]
    first, searches = ([one[name] for one in found] for name in ("opened", "searches"))
    numbers = {
        "features": FEATURES,
        "repeats": repeats,
        "milliseconds_until_drawn": {"median": float(np.median(first)), "most": max(first)},
        "milliseconds_of_a_search": {"median": float(np.median(searches)), "most": float(np.max(searches))},
    }
    write_json(out, numbers)
    typer.echo(out.read_text())


def large(site: Path, copy: Path) -> Path:
    """Copy the pages of a report, and give an encoder so many features; return the page with its list."""
    shutil.copytree(site, copy, ignore=shutil.ignore_patterns("f*.html", "g*.html"))
    (copy / "search.js").write_text(script("falcon", large_index([ENCODER])), encoding="utf-8")
    page = copy / ENCODER / "index.html"
    text = POLICY.sub("", page.read_text(encoding="utf-8"))
    watched = text.replace("</body>", '<script src="../watch.js"></script></body>')
    page.write_text(watched, encoding="utf-8")
    return page


def opened(page: Path, profile: Path) -> dict:
    """Open a page in a new browser; return what the page sends.

    Raises
    ------
    queue.Empty
        If it sends nothing.
    """
    received: Queue[bytes] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        where = f"http://127.0.0.1:{server.server_port}"
        (page.parents[1] / "watch.js").write_text(WATCH % (json.dumps(QUERIES), where))
        options = [
            "--headless=new",
            "--no-sandbox",
            "--no-first-run",
            "--window-size=1280,900",
            f"--user-data-dir={profile}",
        ]
        with subprocess.Popen(["chromium", *options, page.as_uri()], stderr=subprocess.DEVNULL) as browser:
            try:
                return json.loads(received.get(timeout=SECONDS))
            finally:
                browser.terminate()
                server.shutdown()


if __name__ == "__main__":
    typer.run(main)
