"""A report in Chromium: nothing on the console, curves, values and attention under the pointer.

It needs Chromium (`CHROMIUM` names it where it is not in the path) and Playwright
(`pip install -e '.[browser]'`).
"""

import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s2s.report.build_page import ReportOptions, report_page
from s2s.run.directory import Run
from tests.report.conftest import HOSTILE

CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
if CHROMIUM is None:
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Opened:
    """A page in the browser, and what it said and asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": 1200, "height": 900}, **options)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.resolve().as_uri())

    def tip(self) -> str:
        return str(self.page.locator("#tip").inner_text())


@pytest.fixture
def opened(browser: Any, hostile: Run) -> Iterator[Opened]:
    path = Path("report.html")
    path.write_bytes(report_page(hostile, ReportOptions(device="cpu"), print))
    found = Opened(browser, path)
    yield found
    found.page.close()


def test_the_console_is_silent_and_nothing_is_requested(opened: Opened) -> None:
    for one in opened.page.locator("summary").all()[1:]:
        one.click()
    assert opened.page.evaluate("window.harm") is None
    assert opened.said == []
    assert opened.asked == [opened.page.url]
    text = opened.page.locator("body").inner_text()
    for word in HOSTILE[:8]:
        assert word in text


def test_curves_are_drawn_and_have_values_under_the_pointer(opened: Opened, hostile: Run) -> None:
    events = [event for event in hostile.read_events() if event["event"] == "update"]
    svg = opened.page.locator("svg[aria-label^=Loss]")
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    lines = svg.locator("polyline").evaluate_all("all => all.map(one => one.getTotalLength())")
    assert len(lines) == 3 and min(lines) > 50
    opened.page.mouse.move(box["x"] + box["width"] * 0.97, box["y"] + box["height"] / 2)
    last = events[-1]
    tip = opened.tip().splitlines()
    assert tip[0] == f"{last['update']} update"
    (training,) = (line for line in tip if line.startswith("training: "))
    assert float(training.split()[1]) == pytest.approx(last["nll"], rel=1e-3)
    assert svg.locator(".cursor").get_attribute("visibility") == "visible"
    opened.page.mouse.move(1, 1)
    assert opened.page.locator("#tip").is_hidden()


def test_the_pointer_shows_the_attention_of_a_token(opened: Opened) -> None:
    sample = opened.page.locator(".sample").first
    tokens, sources = sample.locator(".outputs .t"), sample.locator(".sources .t")
    shades = []
    for number in range(tokens.count()):
        tokens.nth(number).hover()
        wanted = {
            int(place): int(weight)
            for place, weight in re.findall(
                r"(\d+):(\d+)", tokens.nth(number).get_attribute("data-w")
            )
        }
        assert sum(wanted.values()) == pytest.approx(1000, abs=len(wanted) + 3)
        for place in range(sources.count()):
            token = sources.nth(place)
            weight = wanted.get(place, 0)
            shown = token.evaluate("t => [t.style.getPropertyValue('--w'), t.dataset.p || '']")
            assert float(shown[0] or 0) == weight / 1000
            assert shown[1] == (str(int(weight / 10 + 0.5)) if weight >= 10 else "")
        most = max(wanted, key=lambda place: wanted[place])
        shades.append(sources.nth(most).evaluate("t => getComputedStyle(t).backgroundColor"))
    assert "rgba(31, 84, 190, 0)" not in shades
    opened.page.mouse.move(1, 1)
    assert sources.evaluate_all("all => all.filter(t => t.dataset.p).length") == 0
    tokens.first.focus()
    assert sources.evaluate_all("all => all.filter(t => t.dataset.p).length") > 0


def test_dark_mode_and_print(browser: Any, opened: Opened) -> None:
    def paper() -> str:
        return str(opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert paper() == "rgb(255, 255, 255)"
    opened.page.emulate_media(color_scheme="dark")
    assert paper() == "rgb(22, 22, 27)"
    opened.page.emulate_media(media="print")
    assert paper() == "rgb(255, 255, 255)"
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.locator("details:not([open])").count() == 0
    assert opened.page.locator("nav").is_hidden()
    assert len(opened.page.pdf()) > 10_000
    assert opened.said == []


def test_narrow_windows_do_not_scroll_sideways(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 380, "height": 700})
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.page.evaluate(wide) <= 0


def test_the_policy_stops_what_escaping_would_have_missed(
    browser: Any, hostile: Run, tmp_path: Path
) -> None:
    """With a script and a request put into the page, neither is executed."""
    page = report_page(hostile, ReportOptions(device="cpu", limit=0), print)
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0]:
                asked.set()

        threading.Thread(target=serve, daemon=True).start()
        harm = f"<script>window.harm=1</script><img src=http://127.0.0.1:{server.getsockname()[1]}>"
        path = tmp_path / "bad.html"
        path.write_bytes(page.replace(b"</main>", harm.encode() + b"</main>"))
        opened = Opened(browser, path)
        assert opened.page.evaluate("window.harm") is None
        assert len(opened.said) == 2 and all("Content Security" in line for line in opened.said)
        assert not asked.is_set()
        opened.page.close()
        with socket.create_connection(server.getsockname()):  # ends the thread
            assert asked.wait(60)
