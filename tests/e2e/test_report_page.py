"""Report pages in a browser: no errors, no requests, and everything that can be clicked answers."""

from __future__ import annotations

import pytest

from ..report.builders import HOSTILE, result  # noqa: TID252 (the results are built once for both folders)

LIMIT_BYTES = 2_000_000
LARGE = tuple(f"zoo:{model}@{target}" for target in ("cgla", "cgra", "wafer") for model in ("resnet50", "lfm2.5-1.2b"))
SMALL = ("grid", "line", "contest", "cgra", "cgla", "wafer")


class Opened:
    """A page with everything it complained about or asked for."""

    def __init__(self, browser, path, **context):
        self.troubles, self.requests = [], []
        self.context = browser.new_context(viewport={"width": 1300, "height": 900}, **context)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#graph-view svg")


@pytest.fixture
def visit(browser, tmp_path):
    opened = []

    def go(kind, **context):
        path = result(kind).to_html(tmp_path / "report.html")
        opened.append(Opened(browser, path, **context))
        return opened[-1]

    yield go
    for each in opened:
        each.context.close()
        assert each.troubles == []
        assert [url for url in each.requests if not url.startswith("data:")] == each.requests[:1]


@pytest.mark.parametrize("kind", [*SMALL, *LARGE])
def test_selecting_an_operator_lights_it_up_everywhere(visit, kind):
    page = visit(kind).page
    assert len(result(kind).html().encode()) < LIMIT_BYTES
    row = page.locator("#ops tbody tr").nth(1)
    row.click()
    item = row.get_attribute("data-op")
    assert page.locator(f'#ops tr.on[data-op="{item}"]').count() == 1
    assert page.locator(f'#fabric-view [data-op="{item}"].on').count() >= 1
    assert page.locator(f'#graph-view [data-op="{item}"].on').count() == 1
    assert page.locator("#facts h3").inner_text() == row.locator("td").first.inner_text()
    page.keyboard.press("Escape")
    assert page.locator(".on").count() == 0


@pytest.mark.parametrize("kind", ["grid", "line", "wafer", "cgra"])
def test_selecting_in_the_drawing_finds_the_row(visit, kind):
    page = visit(kind).page
    shape = page.locator("#fabric-view svg [data-op][tabindex]").first
    item = shape.get_attribute("data-op")
    shape.focus()
    page.keyboard.press("Enter")
    assert page.locator("#ops tr.on").get_attribute("data-op") == item


def test_the_slider_and_play_step_through_the_slots(visit):
    page = visit("grid").page
    shown = lambda: page.locator("#fabric-view .now").inner_text()  # noqa: E731

    def nodes():
        drawn = page.locator("#fabric-view .figure").first.locator("[data-op]")
        return drawn.evaluate_all("found => found.map(node => node.dataset.op)")

    first, found = shown(), set(nodes())
    assert first.startswith("slot 0 of")
    for _ in range(result("grid").mapping.ii - 1):
        page.locator("input.slot").press("ArrowRight")
        found |= set(nodes())
    assert len(found) == len(result("grid").mapping.placed) + len(result("grid").mapping.moves)
    before = shown()
    page.get_by_role("button", name="play", exact=True).click()
    page.wait_for_function("words => document.querySelector('.now').textContent !== words", arg=before)
    page.get_by_role("button", name="pause").click()
    page.get_by_role("button", name="prologue, kernel, epilogue").click()
    assert "prologue" in shown()


def test_overlays_and_routes_of_the_floorplan(visit):
    page = visit("wafer").page
    colours = lambda: page.locator("#fabric-view g[data-op] > rect").evaluate_all(  # noqa: E731
        "found => found.map(node => node.getAttribute('fill'))"
    )
    by_time = colours()
    page.select_option("#overlay", "3")
    assert colours() != by_time
    assert page.locator("#fabric-view path.route").count() >= 1
    page.select_option("#overlay", "heat")
    assert page.locator("#fabric-view path.route").first.is_hidden()


def test_zoom_and_fit(visit):
    page = visit("wafer").page
    box = lambda: page.locator("#fabric-view svg").first.get_attribute("viewBox")  # noqa: E731
    start = box()
    page.locator("#fabric-view").get_by_role("button", name="zoom in").click()
    assert float(box().split()[2]) < float(start.split()[2])
    page.locator("#fabric-view").get_by_role("button", name="fit", exact=True).click()
    assert box() == start


def test_the_table_sorts_and_filters(visit):
    page = visit("zoo:resnet50@wafer").page
    cycles = [th.inner_text() for th in page.locator("#ops th").all()].index("cycles")
    values = lambda: page.locator(f"#ops tbody td:nth-child({cycles + 1})").evaluate_all(  # noqa: E731
        "found => found.map(cell => +cell.dataset.v)"
    )
    page.locator("#ops th button").nth(cycles).click()
    assert values() == sorted(values(), reverse=True)
    page.locator("#ops th button").nth(cycles).click()
    assert values() == sorted(values())
    page.fill("#filter", "block.0 conv1")
    visible = page.locator("#ops tbody tr:visible").all_inner_texts()
    assert visible and all("block.0" in row and "conv1" in row for row in visible)


def test_long_graphs_fold_into_blocks(visit):
    page = visit("zoo:lfm2.5-1.2b@wafer").page
    blocks = page.locator(".blocks button")
    assert 10 <= blocks.count() <= 80
    before = page.locator("#graph-view [data-op]").first.get_attribute("data-op")
    blocks.nth(3).click()
    assert page.locator("#graph-view [data-op]").first.get_attribute("data-op") != before


def test_names_with_markup_stay_text(visit):
    page = visit("cgra").page
    assert page.locator("img").count() == 0
    assert HOSTILE in page.locator("#ops tbody").inner_text()
    page.locator("#fabric-view [data-op][tabindex]").first.press("Enter")
    assert page.locator("img").count() == 0


def test_dark_and_print(visit):
    page = visit("cgra", color_scheme="dark").page
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(20, 24, 28)"
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()


def test_the_table_can_be_read_without_a_script(browser, tmp_path):
    path = result("cgra").to_html(tmp_path / "report.html")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("#ops tbody tr").count() == len(result("cgra").report["ops"])
    assert "movement" in page.locator("#summary").inner_text()
    context.close()
