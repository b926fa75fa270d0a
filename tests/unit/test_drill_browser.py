"""The report of a drill as a real browser shows and prints it."""

from __future__ import annotations

import html
import json
import re
import struct
from dataclasses import replace

import browser
import pytest
from drills import broken, older, recorded, scene, unreached
from hafailover.crm.drill import document, page
from lxml import etree

LONG = "a-very-long-name-of-a-node-that-somebody-has-chosen.in.a.domain.with.many.labels.example.org"
# Several pages in windows of their own widths; what sticks out of each on the right or left is measured by the browser itself.
MEASURE = """<!DOCTYPE html><html><head><title></title></head><body>{windows}<script>addEventListener("load", () => {{
  const found = {{}};
  for (const frame of document.querySelectorAll("iframe")) {{
    const page = frame.contentDocument, limit = page.documentElement.clientWidth, out = [];
    for (const element of page.querySelectorAll("body *")) {{
      const box = element.getBoundingClientRect();
      if (box.width && (box.right > limit + 1 || box.left < -1))
        out.push(element.tagName + " " + Math.round(box.left) + " " + Math.round(box.right) + " " + element.textContent.slice(0, 40));
    }}
    found[frame.title] = {{limit, whole: page.documentElement.scrollWidth, elements: page.querySelectorAll("*").length, out}};
  }}
  document.title = JSON.stringify(found);
}})</script></body></html>"""
WINDOW = '<iframe title="{name}" width="{width}" height="900" style="border:0" srcdoc="{page}"></iframe>'
SHEET = 680  # px: 210 mm less two margins of 15 mm, at 96 px to the inch


def of(*runs, earlier=None, where=None):
    return document.make(runs or [recorded()], where or scene(), earlier or [])


def with_long_names():
    run = recorded()
    story = {
        key: {
            **look,
            "writers": {
                name if name == "client" else f"{name}-{LONG}": found for name, found in look["writers"].items()
            },
        }
        for key, look in run.story.items()
    }
    problems = [f"{LONG} differs from the primary: " + "0-1-123456789," * 30]
    return replace(run, scenario=LONG, before=LONG, after=f"{LONG}2", story=story, problems=problems)


PAGES = {
    "one": lambda: of(recorded(), earlier=older([6.0, 7.0, 5.5])),
    "many": lambda: of(recorded(), broken(), unreached(), earlier=older([float(number) for number in range(1, 30)])),
    "long": lambda: of(
        with_long_names(),
        earlier=older([12345.6] * 20, LONG),
        where=scene(name=LONG, client=LONG, who=LONG, reason=LONG * 3),
    ),
}


def written(tmp_path, made_document):
    path = tmp_path / "report.html"
    path.write_text(page.render(made_document), encoding="utf-8")
    return path


def on_paper(text):
    return text.replace("@media print", "@media all").replace("@media (prefers-color-scheme: dark)", "@media not all")


def test_the_figures_that_are_shown_are_those_of_the_json(tmp_path):
    made_document = PAGES["many"]()
    report = json.loads(document.as_text(made_document))
    dom = etree.fromstring(browser.rendered(written(tmp_path, made_document)), etree.HTMLParser())
    shown = {
        (one.get("data-figure"), int(one.get("data-run"))): (one.get("value"), one.text) for one in dom.iter("data")
    }
    assert len(shown) >= 8 * len(report["runs"])
    for (figure, number), (value, text) in shown.items():
        run = report["runs"][number]
        phases = {f"phase.{one['name']}": one["at"] for one in run["recovery"]}
        known = phases[figure] if figure in phases else run[figure]
        if known is None:
            assert (value, text) == ("", "\u2013"), figure
        elif isinstance(known, bool):
            assert (value, text) == (str(known).lower(), "Held" if known else "Failed")
        else:
            assert float(value) == known, figure
            digits = text.replace("\u202f", "").replace(" s", "")
            assert float(digits) == pytest.approx(known, rel=0.06, abs=0.006), figure


def test_nothing_sticks_out_of_a_window_or_a_sheet(tmp_path):
    windows = []
    for name, make in PAGES.items():
        text = page.render(make())
        for width, shown in ((800, text), (420, text), (SHEET, on_paper(text))):
            windows.append(WINDOW.format(name=f"{name} at {width}", width=width, page=html.escape(shown)))
    path = tmp_path / "windows.html"
    path.write_text(MEASURE.format(windows="".join(windows)), encoding="utf-8")
    found = json.loads(etree.fromstring(browser.rendered(path), etree.HTMLParser()).findtext(".//title"))
    assert len(found) == 3 * len(PAGES) and all(one["elements"] > 200 for one in found.values())
    assert {name: one["out"] for name, one in found.items() if one["out"] or one["whole"] > one["limit"]} == {}


def test_it_is_printed_on_a4_and_not_on_too_many_sheets(tmp_path):
    pdf = browser.printed(written(tmp_path, PAGES["one"]()), tmp_path / "report.pdf")
    assert pdf.startswith(b"%PDF-")
    boxes = {tuple(round(float(part)) for part in box.split()) for box in re.findall(rb"/MediaBox \[([^\]]*)\]", pdf)}
    assert boxes == {(0, 0, 595, 842)} or boxes == {(0, 0, 594, 842)}, boxes
    assert 1 <= len(re.findall(rb"/Type /Page\b", pdf)) <= 4


def test_there_is_something_to_see(tmp_path):
    image = browser.picture(written(tmp_path, PAGES["one"]()), tmp_path / "report.png", 800, 1200).read_bytes()
    assert struct.unpack(">II", image[16:24]) == (800, 1200)
    assert len(image) > 40_000, "a blank page is a small picture"


def test_nothing_of_it_is_a_script_or_asks_for_anything(tmp_path):
    hostile = of(
        replace(
            recorded(),
            scenario='"><script>document.title="run"</script>',
            problems=["<img src=x onerror=\"document.title='run'\">"],
        )
    )
    dom = browser.rendered(written(tmp_path, hostile))
    found = etree.fromstring(dom, etree.HTMLParser())
    assert found.findtext(".//title") != "run" and not list(found.iter("script", "img", "iframe", "link"))
