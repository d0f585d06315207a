"""The page of `error_report`, opened in a Chromium as a reader does."""

import importlib
import shutil

import numpy as np
import pytest

from sklearn_bert.inspection import error_report

pytestmark = pytest.mark.browser

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
FLAGS += ["--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
EVIL = '<img src=x onerror="document.title=1"></script><b>'
SIZES = [(1280, 900), (390, 844)]


@pytest.fixture(scope="module")
def browser():
    """A browser that is installed here."""
    found = [binary for name in NAMES if (binary := shutil.which(name))]
    if not found:
        pytest.fail(f"no browser was found; install one of {', '.join(NAMES)}")
    # Only this test needs it.
    playwright = importlib.import_module("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found[0], args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(clf, decided, tmp_path_factory):
    """Of texts of which one is markup, with six wrong labels."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    texts, labels = decided[0][:60], [*decided[1][:60]]
    texts = [EVIL, *texts[1:]]
    for row in (3, 10, 21, 32, 43, 54):
        labels[row] = "neg" if labels[row] == "pos" else "pos"
    options = {"X_train": decided[0][60:], "y_train": decided[1][60:], "title": EVIL}
    return error_report(clf, texts, labels, path, **options)


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]} px")
def page(browser, report, request):
    """The page, which must log no error and ask for nothing."""
    width, height = request.param
    tab = browser.new_page(viewport={"width": width, "height": height})
    logged, asked = [], []
    tab.on("console", lambda message: logged.append(message.text))
    tab.on("pageerror", lambda error: logged.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(report.path.as_uri())
    yield tab
    tab.close()
    assert logged == []
    assert asked == [report.path.as_uri()]


def shown(page):
    """The texts in the list."""
    return page.locator("article .words").all_text_contents()


def count(page):
    return page.locator("#count").text_content()


def test_page_opens_with_the_suspects(page, report, decided):
    """Doubtful labels come first, in order, and their words have colours."""
    assert count(page) == f"{len(report.suspects)} texts"
    rows = report.suspects["row"].tolist()
    assert page.locator("article .numbers span:first-child").all_text_contents() == [
        f"X[{row}]" for row in rows
    ]
    for row, article in zip(rows, page.locator("article").all(), strict=True):
        words = article.locator("mark").all_text_contents()
        assert (decided[2][row] in words) or row == 0


def test_page_is_not_wider_than_the_window(page):
    """Nothing makes the page scroll sideways, with any text or details open."""
    page.select_option("#show", "all")
    for summary in page.locator("summary").all():
        summary.click()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]


def test_cell_opens_its_texts(page, report):
    """A click on a cell of the matrix shows the texts that it counts."""
    for label, name in enumerate(report.confusion.index):
        for predicted in range(2):
            n = int(report.confusion.iloc[label, predicted])
            cell = f"[data-label='{label}'][data-predicted='{predicted}']"
            page.locator(f".matrix {cell}").click()
            assert count(page).split()[0] == str(n)
            heads = page.locator("article .classes").all_text_contents()
            assert all(head.startswith(f"label {name}") for head in heads)
            wrong = [", predicted too" not in head for head in heads]
            assert all(wrong) if label != predicted else not any(wrong)
    place = page.locator("#count").bounding_box()["y"]
    assert 0 <= place < page.viewport_size["height"]  # in sight


def test_class_opens_its_texts(page, report):
    """A click on a class shows the texts of this label."""
    page.get_by_role("button", name="neg", exact=True).click()
    assert count(page).split()[0] == str(report.scores.loc["neg", "support"])


def test_search_and_selects_filter(page, report, decided):
    """What is typed and chosen leaves the texts that fit, and can be taken back."""
    page.locator("#reset").click()
    assert count(page) == "60 texts"
    assert len(shown(page)) == 50
    page.locator("#more").click()
    assert len(shown(page)) == 60
    assert page.locator("#more").is_hidden()
    page.fill("#search", " CAT ")
    expected = sorted(text for text in decided[0][1:60] if "cat" in text)
    assert sorted(shown(page)) == expected
    page.select_option("#show", "wrong")
    page.select_option("#label", label="pos")
    heads = page.locator("article .classes").all_text_contents()
    assert all("label pos, predicted neg" in head for head in heads)
    page.fill("#search", "no such word")
    assert count(page) == "0 texts"
    page.locator("#reset").click()
    assert count(page) == "60 texts"


def test_markup_in_a_text_stays_text(page):
    """A text, or a title, with scripts in it is shown as it is, and does not run."""
    page.locator("#reset").click()
    page.fill("#search", "onerror")
    assert shown(page) == [EVIL]
    assert page.locator("h1").text_content() == EVIL
    assert page.title() == EVIL
    assert page.locator("img, b").count() == page.locator(".classes b").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(browser, report, scheme):
    """The contrast of text and page, and of the softest words, is at least 4.5."""
    page = browser.new_page(color_scheme=scheme)
    page.goto(report.path.as_uri())
    colors = page.evaluate(
        """() => {
          const of = (query, name) =>
            getComputedStyle(document.querySelector(query))[name].match(/[0-9.]+/g);
          return [of("body", "backgroundColor"), of("body", "color"),
                  of(".soft", "color"), of("nav a", "color")];
        }"""
    )
    page.close()
    back, *others = (luminance(color[:3]) for color in colors)
    assert (back > 0.5) == (scheme == "light")
    for light in others:
        high, low = max(back, light), min(back, light)
        assert (high + 0.05) / (low + 0.05) >= 4.5


def luminance(color):
    """That of WCAG 2."""
    shares = np.array(color, dtype=float) / 255
    low = shares <= 0.04045
    linear = np.where(low, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
