"""The page in a browser: type, see, choose."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s2s.run.directory import Run
from tests.serve.servers import Client, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    # Playwright leaves its pipes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, client: Client) -> Iterator[Any]:
    """The page, on which nothing goes wrong and which asks no other server."""
    context = browser.new_context()
    found = context.new_page()
    faults: list[str] = []
    found.on("pageerror", lambda error: faults.append(str(error)))
    found.on("console", lambda told: faults.append(told.text) if told.type == "error" else None)
    found.on("request", lambda asked: faults.append(asked.url) if is_foreign(asked) else None)

    def is_foreign(asked: Any) -> bool:
        return not asked.url.startswith((f"http://127.0.0.1:{client.port}/", "data:"))

    found.goto(f"http://127.0.0.1:{client.port}/")
    yield found
    context.close()
    assert faults == []


def words(page: Any) -> list[str]:
    return [text.strip() for text in page.locator("#output .word").all_inner_texts()]


def settled(page: Any) -> None:
    """Wait until the output is that of the text."""
    page.wait_for_timeout(300)
    page.wait_for_selector('#output[aria-busy="false"]')


def test_type_and_see_the_translation_and_its_attention(page: Any, client: Client) -> None:
    page.locator("#source").press_sequentially("0 1 2")
    page.wait_for_selector("#output .word")
    settled(page)
    found = client.ask("/v1/translate", text="0 1 2", nbest=3, attention=True)["lines"][0]
    assert words(page) == found["text"].split()
    texts = page.locator("#nbest li").all_inner_texts()
    assert len(texts) == 3
    assert all(
        text.startswith(output["text"])
        for text, output in zip(texts, found["outputs"], strict=True)
    )
    heads = page.locator("#weights thead th").all_inner_texts()
    assert heads == found["attention"]["source"]
    assert page.locator("#weights tbody th").all_inner_texts() == found["attention"]["target"]
    first = page.locator("#weights tbody tr").first.locator("td").all_inner_texts()
    assert first == [
        f"{100 * weight:.0f}" if weight >= 0.01 else ""
        for weight in found["attention"]["weights"][0]
    ]


def test_choose_a_word_and_another_after_it(page: Any, client: Client) -> None:
    page.fill("#source", "0 1 2 3")
    page.wait_for_selector("#output .word")
    settled(page)
    first = words(page)[0]
    page.locator("#output .word").first.click()
    page.wait_for_selector("#alternatives button")
    settled(page)
    assert page.inner_text("#begun") == first
    pressed = page.locator('#output .word[aria-pressed="true"]').all_inner_texts()
    assert [text.strip() for text in pressed] == [first]
    wanted = client.ask("/v1/alternatives", text="0 1 2 3", prefix=f"{first} ", count=12)
    shown = page.locator("#alternatives li").all_inner_texts()
    assert [text.split()[0] for text in shown if "(end" not in text] == [
        one["next"] for one in wanted["alternatives"] if one["next"]
    ]
    other = page.locator("#alternatives button").nth(2)
    chosen = other.inner_text().split()[0]
    other.click()
    page.wait_for_function(
        "word => document.querySelectorAll('#output .word')[1]?.textContent.trim() === word",
        arg=chosen,
    )
    settled(page)
    forced = client.ask("/v1/translate", text="0 1 2 3", prefix=f"{first} {chosen}")["lines"][0]
    assert words(page) == forced["text"].split()
    assert words(page)[:2] == [first, chosen]
    page.click("#release")
    settled(page)
    plain = client.ask("/v1/translate", text="0 1 2 3")["lines"][0]
    assert words(page) == plain["text"].split()
    assert page.is_hidden("#next")


def test_several_lines(page: Any, client: Client) -> None:
    page.fill("#source", "0 1\n\n2 3 4")
    settled(page)
    rows = page.locator("#output p")
    found = client.ask("/v1/translate", text=["0 1", "", "2 3 4"])["lines"]
    assert rows.count() == 3
    for place, line in enumerate(found):
        shown = rows.nth(place).locator(".word").all_inner_texts()
        assert [text.strip() for text in shown] == line["text"].split()
    # A word of the last line: its attention is shown.
    rows.nth(2).locator(".word").first.click()
    settled(page)
    assert page.locator("#weights thead th").all_inner_texts() == ["2", "3", "4", "</s>"]


def test_text_is_never_markup(page: Any) -> None:
    page.fill("#source", "<img src=x onerror=alert(1)> <b>0</b>")
    page.wait_for_selector("#weights th")
    settled(page)
    heads = page.locator("#weights thead th").all_inner_texts()
    assert heads[:-1] == ["<unk>"] * (len(heads) - 1)
    assert page.locator("#weights img, #output img, #output b").count() == 0


def test_a_fault_is_told_and_goes_away(browser: Any, spell: Run) -> None:
    with serving(spell) as client:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{client.port}/")
        page.fill("#source", "0" * 2001)
        page.wait_for_selector("#fault:not([hidden])")
        told = "text: line 1: expected at most 2,000 characters, found 2,001"
        assert page.inner_text("#fault") == told
        page.fill("#source", "0 1")
        page.wait_for_selector("#output .word")
        assert page.is_hidden("#fault")
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(browser: Any, client: Client, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 640}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{client.port}/")
    page.fill("#source", "0 1 2 3 4 5 6 7 0 1 2 3")
    page.wait_for_selector("#weights td")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (scheme == "light")
    # Every control has a name that a screen reader says.
    names = page.locator("select, textarea, button:visible").evaluate_all(
        "all => all.map(one => one.labels?.[0]?.textContent || one.ariaLabel || one.textContent)"
    )
    assert all(name.strip() for name in names)
    context.close()


def test_the_description_of_the_api(browser: Any, client: Client) -> None:
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{client.port}/docs")
    page.wait_for_selector("#operations section")
    text = page.inner_text("#operations")
    assert all(path in text for path in client.get("/openapi.json").json["paths"])
    assert "What the output begins with" in text
    page.close()


def test_the_screenshot_of_the_documentation_is_there() -> None:
    picture = Path(__file__).parents[2] / "docs" / "serve.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
