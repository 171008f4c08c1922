"""The report: what it says, that it asks nothing of anybody, and that no caption is more than text.

Read as a file everywhere, and in a real browser where there is one.
"""

import base64
import csv
import io
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from html import unescape
from html.parser import HTMLParser
from importlib.metadata import version
from itertools import combinations
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pairsynth import config
from pairsynth.dataset import Refusals, complete, read_manifest, read_rows
from pairsynth.errors import InputError
from pairsynth.report import benefit, charts, curves, drawn, gallery, headlines, page, results
from pairsynth.report.results import Results, Value
from pairsynth.whole_files import new_folder
from tests.browser import DARK, NEEDS_BROWSER, browse, screenshot, visit
from tests.rows import write_pairs, write_pairs_shard
from tests.workspace import facts_of, run

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script></style></title><img src=x onerror='window.hacked = 1'>",
    '" onmouseover="window.hacked = 1" data-score=\'9\'>',
    "{{ 7 * 7 }} {% raw %} {# a #} ${7 * 7}",
    "<svg onload=window.hacked=1> <iframe src=https://example.org> & &amp; <!-- ",
    "javascript:window.hacked=1 http://example.org/x.png",
]


def report_of(data: Path, metrics: Path, params: Path) -> page.Report:
    return page.gather(data, metrics, config.read(params), 1712, torch.device("cpu"))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def hostile(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run with evil captions everywhere, refusals, and all that may be measured."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("data", "metrics"):
        shutil.copytree(checkout / name, folder / name)
    shutil.copy(checkout / "params.yaml", folder)
    synthetic, metrics = folder / "data/synthetic", folder / "metrics"
    rows = read_rows(synthetic).to_pylist()
    facts = facts_of(synthetic)
    for i, row in enumerate(rows):
        row |= {"caption": HOSTILE[i % len(HOSTILE)], "nearest_caption": HOSTILE[-1 - i % 6]}
        row |= {"pair_id": f"pair-{i}<b>", "consistency": i / 100}
    refusals = Refusals()
    for i in range(4):
        kept: tuple[str, ...]
        kept = ("image", "caption", "strategy", "consistency", "nearest_image_id")
        kept = (*kept, "pair_id", "nearest_image_distance", "nearest_caption")
        told = {"reason": "copy", "why": f"copy of {HOSTILE[i]}"}
        refusals.add("copy", ({key: rows[i][key] for key in kept} | told).copy)
    refusals.left_out = 3
    with new_folder(synthetic) as again:
        write_pairs_shard(again, 0, 1, rows)
        complete(again, facts, refusals)
    write_rows(folder / "data/pictures/refused.csv", [{"item": "<b>a.png", "reason": HOSTILE[0]}])
    odd = {"finding": "2 images are <i>odd</i>", "item": "<b>b.png", "what": HOSTILE[1]}
    write_rows(folder / "data/pictures/survey.csv", [odd])
    judged = {"judge_similarity": 0.25, "judge_rank": 3, "longest_copied": 7}
    rest = dict.fromkeys((*results.WORDS["pairs"], *results.NUMBERS["pairs"]), "")
    write_rows(metrics / "pairs.csv", [rest | {"pair_id": rows[-1]["pair_id"]} | judged])
    use = [
        dict.fromkeys((*results.WORDS["use"], *results.NUMBERS["use"]), "")
        | {"task": "retrieval", "arm": arm, "share": share, "value": 0.5, "seeds": 3}
        | {"low": -0.1, "high": 0.1, "verdict": HOSTILE[1]}
        for arm in ("real", "both", "synthetic")
        for share in (0.05, 1.0)
    ]
    write_rows(metrics / "use.csv", use)
    Image.new("RGB", (2000, 100), "red").save(metrics / "figures/progress.png")
    told = json.loads((metrics / "evaluate.json").read_text())
    told |= {"cycle_verdict": HOSTILE[0], "use_verdict": "it helps", "bleu_signature": HOSTILE[1]}
    (metrics / "evaluate.json").write_text(json.dumps(told))
    text = page.render(report_of(folder / "data", metrics, folder / "params.yaml"))
    (folder / "report.html").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def html(hostile: Path) -> str:
    return (hostile / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def plain(checkout: Path) -> Path:
    """The report as `dvc repro` left it."""
    return checkout / "metrics/report.html"


class Reader(HTMLParser):
    """Every tag with its attributes, and the words between them but those of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem != "script":
            self.words.append(data)


def gallery_of(text: str) -> dict[str, Any]:
    """What the page's script pages through."""
    found = re.search(r'<script type="application/json" id="pairs">(.*?)</script>', text)
    assert found
    records: dict[str, Any] = json.loads(found[1])
    return records


# ---------------------------------------------------------------- as a file


def test_the_page_has_what_it_needs_in_itself(html: str) -> None:
    reader = Reader(html)
    for tag, attributes in reader.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            target = attributes.get(name) or ""
            assert name not in attributes or target.startswith(("data:", "#")), (tag, target)
        assert not [name for name in attributes if name.startswith("on")], tag
    assert not re.search(r"url\((?!#)|@import|xmlns", html)
    policy = next(a["content"] for _, a in reader.tags if "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert len(html) < 6_000_000


def test_hostile_words_are_escaped(html: str) -> None:
    reader = Reader(html)
    tags = Counter(tag for tag, _ in reader.tags)
    assert tags["script"] == 2  # the gallery's data, and what pages through them
    assert tags["iframe"] == 0
    words = "".join(reader.words)
    for caption in HOSTILE:
        assert caption in words
    assert "49" not in "".join(word for word in reader.words if "7 * 7" in word)


def test_images_have_words_and_names_are_given_once(html: str) -> None:
    reader = Reader(html)
    images = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert len(images) > 100
    assert all(attributes.get("alt") for attributes in images)
    names = Counter(attributes["id"] for _, attributes in reader.tags if "id" in attributes)
    assert not [name for name, count in names.items() if count > 1]
    links = {a["href"] for tag, a in reader.tags if tag == "a"}
    assert {link[1:] for link in links if link} <= set(names)


def test_what_was_refused_is_told_with_its_reason(html: str) -> None:
    words = " ".join(" ".join(Reader(html).words).split())
    assert "4 did not become pairs" in words
    assert "3 pairs were left out" in words
    assert f"copy of {HOSTILE[1]}" in words
    assert "<b>a.png" in words
    assert "1 images or captions of the source could not be used" in words


def test_all_that_may_be_measured_is_shown(html: str) -> None:
    words = " ".join(Reader(html).words)
    assert "judge's rank" in words
    assert "words in a row from train" in words
    assert any(verdict in words for verdict in benefit.VERDICTS.values())
    assert "bleu signature" in words
    assert "real and synthetic" in words
    assert "Not measured in this run" not in words
    assert "epoch after epoch" in words


def test_what_was_not_measured_is_left_out(checkout: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "metrics"
    shutil.copytree(checkout / "metrics", metrics)
    for name in ("pairs.csv", "use.csv", "figures/progress.png"):
        (metrics / name).unlink()
    text = page.render(report_of(checkout / "data", metrics, checkout / "params.yaml"))
    assert "judge's rank" not in text
    assert Reader(text).words.count("Not measured in this run.") == 1
    assert "epoch after epoch" not in text


def test_the_page_says_how_it_was_measured(plain: Path, checkout: Path) -> None:
    words = plain.read_text()
    manifest = read_manifest(checkout / "data/synthetic")
    for told in (*manifest["sha256"].values(), manifest["made_from"]["pictures"], version("torch")):
        assert told in words
    params = config.read(checkout / "params.yaml")
    for section, values in params.items():
        for key in values if isinstance(values, dict) else [section]:
            assert f">{key}</th>" in words


def test_the_gallery_holds_every_pair(hostile: Path, html: str) -> None:
    found = gallery_of(html)
    told = {pair["title"]: pair for pair in found["pairs"]}
    rows = read_rows(hostile / "data/synthetic").to_pylist()
    assert len(found["pairs"]) == len(told) == len(rows) > gallery.PAGE
    for row in rows:
        pair = told[row["pair_id"]]
        assert pair["caption"] == row["caption"]
        assert pair["nearest_caption"] == row["nearest_caption"]
        assert found["nearest"][row["nearest_image_id"]].startswith("data:image/webp;base64,")
        own = Image.open(io.BytesIO(base64.b64decode(pair["image"].partition(",")[2])))
        wanted = Image.open(io.BytesIO(row["image"]["bytes"])).resize(own.size)
        difference = np.asarray(own, float) - np.asarray(wanted, float)
        assert np.abs(difference).mean() < 12


def test_a_few_pairs_are_shown_first_from_the_best_to_the_worst(html: str) -> None:
    shown = html[html.index('<ul class="glance"') :].partition("</ul>")[0]
    alts = [a["alt"] for tag, a in Reader(shown).tags if tag == "img"]
    pairs = gallery_of(html)["pairs"]
    assert alts == [f"Synthetic image: {pairs[row]['caption']}" for row in range(4, 64, 8)]


def test_the_page_names_the_commit_of_its_code(plain: Path, checkout: Path) -> None:
    name = run(checkout, "git", "log", "-1", "--format=%H", "--", "pairsynth", "stages").stdout
    text = plain.read_text()
    assert f"commit <code>{name.strip()}</code>" in text
    assert f"code of commit {name[:10]}</a>" in text


def test_the_recipe_reads_the_data_set(plain: Path, checkout: Path) -> None:
    """As somebody would who copies it from the page."""
    found = re.search(r'<code id="recipe">(.*?)</code>', plain.read_text(), re.S)
    assert found
    recipe = unescape(found[1])
    assert recipe.count("\n") == 3
    said = run(checkout, sys.executable, "-c", recipe).stdout.splitlines()
    rows = read_rows(checkout / "data/synthetic").to_pylist()
    assert said == [f"{row['caption']} {row['novelty']} (32, 32)" for row in rows]


def test_equal_reports_are_equal_pages(hostile: Path, html: str) -> None:
    again = report_of(hostile / "data", hostile / "metrics", hostile / "params.yaml")
    assert page.render(again) == html


def test_a_data_set_of_no_pairs_is_refused(hostile: Path, tmp_path: Path) -> None:
    shutil.copytree(hostile / "data", tmp_path / "data")
    with new_folder(tmp_path / "data/synthetic") as empty:
        write_pairs(empty, [], 0, facts_of(hostile / "data/synthetic"))
    with pytest.raises(InputError, match=r"has 0 pairs, and 1 are needed; set synthesize\.pairs"):
        report_of(tmp_path / "data", hostile / "metrics", hostile / "params.yaml")


# ---------------------------------------------------------------- in a browser

CARDS = "[...document.querySelectorAll('#cards > .card')].filter((card) => !card.hidden)"
SHOWN = f"{CARDS}.map((card) => ({{...card.dataset}}))"


@NEEDS_BROWSER
def test_the_page_opens_without_an_error_and_asks_for_nothing(plain: Path, tmp_path: Path) -> None:
    probe = """
      for (const box of document.querySelectorAll("details")) box.open = true;
      return [...document.images].filter((one) => !one.complete || !one.naturalWidth).length;"""
    seen = visit(plain, tmp_path, probe)
    assert seen.console == []
    assert seen.asked == []
    assert seen.found == 0


@NEEDS_BROWSER
def test_a_page_that_errs_and_asks_is_noticed(tmp_path: Path) -> None:
    """The test above can fail."""
    bad = tmp_path / "bad.html"
    bad.write_text("<body><img src='http://example.org/x.png'><script>nope()</script></body>")
    seen = visit(bad, tmp_path)
    assert "nope is not defined" in seen.console[0]
    assert seen.asked == ["http://example.org/x.png"]


@NEEDS_BROWSER
def test_hostile_captions_show_as_text_and_do_nothing(hostile: Path, tmp_path: Path) -> None:
    probe = """
      const said = [...document.querySelectorAll(".card .caption")].map((one) => one.textContent);
      const tags = document.querySelectorAll("iframe, object, embed, .card svg, .card script");
      return [window.hacked === undefined, [...new Set(said)], tags.length];"""
    seen = visit(hostile / "report.html", tmp_path, probe)
    untouched, said, tags = seen.found
    assert untouched
    assert set(said) == set(HOSTILE)
    assert tags == 0
    assert seen.console == []
    assert seen.asked == []


@NEEDS_BROWSER
def test_the_filters_work(hostile: Path, tmp_path: Path) -> None:
    probe = f"""
      const set = (box, value) => {{
        if (box.type === "checkbox") box.checked = value; else box.value = value;
        box.dispatchEvent(new Event("input", {{bubbles: true}}));
      }};
      const count = () => document.getElementById("count").textContent;
      const steps = {{}};
      const at = () => ["page", "pages"].map((id) => document.getElementById(id).value);
      const note = (name) => {{ steps[name] = [{SHOWN}, count(), at().join(" of ")]; }};
      note("start");
      document.getElementById("next").click();
      note("second");
      set(document.getElementById("page"), 99);
      document.getElementById("page").dispatchEvent(new Event("change"));
      note("last");
      set(document.getElementById("order"), "worst");
      note("worst");
      set(document.getElementById("order"), "near");
      note("near");
      set(document.getElementById("order"), "best");
      set(document.getElementById("words"), "SCRIPT hacked");
      note("words");
      set(document.getElementById("words"), "");
      for (const box of document.querySelectorAll("[name=strategy]"))
        if (box.value !== "text_density") set(box, false);
      note("strategy");
      set(document.getElementById("low"), "0.3");
      set(document.getElementById("high"), "0.5");
      note("score");
      for (const box of document.querySelectorAll("[name=novelty]")) set(box, false);
      note("none");
      return steps;"""
    found = visit(hostile / "report.html", tmp_path, probe).found
    assert isinstance(found, dict), found

    def scores(step: str) -> list[float]:
        return [float(card["score"]) for card in found[step][0]]

    assert len(scores("start")) == 24
    assert found["start"][1:] == ["64 of 64 pairs match", "1 of 3"]
    assert found["second"][2] == "2 of 3"
    assert found["last"][2] == "3 of 3"
    every = scores("start") + scores("second") + scores("last")
    assert every == pytest.approx([i / 100 for i in reversed(range(64))])
    assert scores("worst") == sorted(scores("worst"))
    assert scores("worst")[0] == 0
    near = [float(card["distance"]) for card in found["near"][0]]
    assert near == sorted(near)
    # Words may stand anywhere: "javascript:" has "script" in it.
    holds = [all(word in one.lower() for word in ("script", "hacked")) for one in HOSTILE]
    assert found["words"][1] == f"{sum(holds[i % 6] for i in range(64))} of 64 pairs match"
    assert {card["strategy"] for card in found["strategy"][0]} == {"text_density"}
    rows = read_rows(hostile / "data/synthetic").to_pylist()
    wanted = [r for r in rows if r["strategy"] == "text_density" and 0.3 <= r["consistency"] <= 0.5]
    assert len(scores("score")) == len(wanted)
    assert all(0.3 <= one <= 0.5 for one in scores("score"))
    assert found["none"] == [[], "0 of 64 pairs match", "1 of 1"]


BOXES = """
  for (const box of document.querySelectorAll("details")) box.open = true;
  const size = (one) => one.getBoundingClientRect();
  return [...document.querySelectorAll(".chart svg")].map((svg) => {
    const texts = [...svg.querySelectorAll("text")].map((one) => {
      const box = size(one);
      return [one.textContent, box.left, box.top, box.right, box.bottom];
    });
    const own = size(svg);
    const axes = size(svg.querySelector("[id$='-patch_2']"));
    const high = axes.height / own.height;
    return [svg.getAttribute("role"), own.left, own.right, axes.width, high, texts];
  });"""


@NEEDS_BROWSER
@pytest.mark.parametrize("width", [390, 820, 1280])
def test_charts_can_be_read_at_every_width(plain: Path, tmp_path: Path, width: int) -> None:
    """In the page's own letters, which are not those that matplotlib measured."""
    charts_ = visit(plain, tmp_path, BOXES, width).found
    assert len(charts_) > 10
    for role, left, right, axes, height, texts in charts_:
        assert role == "img"
        assert 0 <= left < right <= width
        assert right - left >= 300
        assert axes > 0.55 * (right - left)
        assert height > 0.55
        for (one, *a), (other, *b) in combinations(texts, 2):
            apart = max(b[0] - a[2], a[0] - b[2], b[1] - a[3], a[1] - b[3])
            assert apart > -3, (one, other)  # boxes of letters have a little room of their own
        assert all(left - 1 <= box[0] and box[2] <= right + 1 for _, *box in texts), texts


@NEEDS_BROWSER
@pytest.mark.parametrize("width", [390, 820, 1280])
def test_nothing_runs_over_the_side(hostile: Path, tmp_path: Path, width: int) -> None:
    probe = """
      for (const box of document.querySelectorAll("details")) box.open = true;
      return [innerWidth, document.documentElement.scrollWidth];"""
    assert visit(hostile / "report.html", tmp_path, probe, width).found == [width, width]


@NEEDS_BROWSER
@pytest.mark.parametrize("words", [(), (DARK,)], ids=["light", "dark"])
def test_words_stand_out_in_light_and_in_dark(
    plain: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """WCAG's contrast of text with what is behind it, 4.5 at least, of every colour in use."""
    probe = """
      const back = getComputedStyle(document.body).backgroundColor;
      const places = ["body", ".quiet, .note", ".tile .big", ".tags .new", "summary", ".chart svg"];
      const fronts = places.map((where) => getComputedStyle(document.querySelector(where)).color);
      return [back, fronts];"""
    back, fronts = visit(plain, tmp_path, probe, 1280, *words).found
    assert (luminance(back) < 0.1) is bool(words)
    for front in fronts:
        light, dark = sorted((luminance(front), luminance(back)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, front


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@NEEDS_BROWSER
def test_it_can_be_looked_at_and_printed(plain: Path, tmp_path: Path) -> None:
    looks = [np.asarray(Image.open(screenshot(plain, tmp_path, w, 900))) for w in (390, 1280)]
    for look in looks:
        assert len(np.unique(look.reshape(-1, look.shape[2]), axis=0)) > 300
    printed = tmp_path / "report.pdf"
    browse(plain, tmp_path, 1280, 900, f"--print-to-pdf={printed}")
    assert printed.read_bytes().startswith(b"%PDF")


@NEEDS_BROWSER
def test_plots_are_drawn_offline_and_ask_for_nothing(checkout: Path, tmp_path: Path) -> None:
    """`dvc plots show` with the page of .dvc/plots.html: the curves are there as an image."""
    run(checkout, "dvc", "plots", "show", "-o", "plots")
    index = checkout / "plots/index.html"
    probe = "return [...document.images].map((one) => [one.src, one.naturalWidth]);"
    seen = visit(index, tmp_path, probe)
    assert seen.console == []
    assert seen.asked == []
    assert any("curves" in name for name, _ in seen.found)
    assert all(width > 100 for _, width in seen.found)


# ---------------------------------------------------------------- the pieces


def claimed(rows: str) -> Results:
    """Results of metrics/measures.csv: says, section, headline, unit, better, role, value."""
    names = ("says", "section", "headline", "unit", "better", "role", "value")
    found = [dict(zip(names, line.split(), strict=True)) for line in rows.strip().splitlines()]
    ends = {"low": "", "high": "", "count": "100"}
    told = [row | ends | {"claim": row["says"], "label": row["role"]} for row in found]
    blank: list[Mapping[str, str]] = [
        {k: "" if v == "-" else v for k, v in row.items()} for row in told
    ]
    return Results(summaries={}, curves={"measures": blank}, figures={}, sheets={})


CLAIMS = """
colour agree    -      share more made    0.9
colour agree    -      share more floor   0.25
colour agree    -      share more ceiling 0.995
count  agree    -      share more made    0.2
count  agree    -      share more floor   0.2
count  agree    -      share more ceiling 0.36
found  agree    found  share more made    0.4
found  agree    found  share more floor   0.01
found  agree    found  share more ceiling 0.34
new    new      new    share more made    0.9
new    new      new    share more ceiling 1.0
kid    alike    kid    score less made    0.5
kid    alike    kid    score less floor   2.0
kid    alike    kid    score less ceiling -0.1
words  alike    words  share near made    0.3
words  alike    words  share near ceiling 0.2
cider  alike    cider  score more made    0.1
cider  alike    cider  score more floor   0.1
cider  alike    cider  score more ceiling 0.3
psi    alike    psi    share more made    0.5
chance alike    chance share more made    0.1
chance alike    chance share more floor   0.3
chance alike    chance share more ceiling 0.2
"""


def test_a_headline_stands_between_its_floor_and_its_ceiling() -> None:
    found = claimed(CLAIMS)
    found.curves["measures"][0].update({"low": "0.8", "high": "0.95"})  # type: ignore[attr-defined]
    colour, *_ = headlines.lines(found, "agree")
    assert (colour.value.text, colour.interval) == ("90.0 %", "80.0 % to 95.0 %")
    assert [mark.text for mark in (*colour.floors, *colour.ceilings)] == ["25.0 %", "99.5 %"]
    assert (colour.value.place, colour.span) == (90.0, (80.0, 15.0))
    kid, words, *_ = headlines.lines(found, "alike")
    places = [mark.place for mark in (*kid.floors, kid.value, *kid.ceilings)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    assert (kid.less, kid.near, words.less, words.near) == (True, False, False, True)


def test_what_the_judge_hardly_tells_is_left_to_the_table_of_all_figures() -> None:
    assert [line.says for line in headlines.lines(claimed(CLAIMS), "agree")] == ["colour", "found"]


def test_a_share_that_praises_the_floor_as_well_is_no_headline() -> None:
    """Precision of smears beside very different images: 0.95, of blurred real ones 0.72 of 0.77."""
    roles = {"made": 0.95, "floor": 0.72, "ceiling": 0.77}
    rows = [f"among alike precision share more {role} {n}" for role, n in roles.items()]
    found = claimed("\n".join([CLAIMS.strip(), *rows]))
    assert "among" not in [line.says for line in headlines.lines(found, "alike")]
    seen = claimed("\n".join([CLAIMS.strip(), rows[0], rows[1].replace("0.72", "0.5"), rows[2]]))
    assert "among" in [line.says for line in headlines.lines(seen, "alike")]


def test_the_first_screen_answers_and_leads_with_what_is_worst() -> None:
    found = claimed(CLAIMS)
    assert [line.says for line in headlines.answers(found)] == ["new", "found"]
    worst = headlines.worst(found)
    assert [line.says for line in worst] == ["cider", "words", "kid"]
    assert [line.lost for line in worst] == pytest.approx([1.0, 0.5, 0.6 / 2.1])


def test_figures_of_images_without_the_network_of_imagenet_are_not_to_be_trusted() -> None:
    one = Value(value=0.5, low=None, high=None, count=9)
    small = {("images_judge", "drawn_and_test", "kid"): one}
    assert headlines.blind(Results(summaries={}, curves={}, figures=small, sheets={}))
    assert not headlines.blind(
        Results(
            summaries={},
            curves={},
            figures=small | {("images_imagenet", "a", "kid"): one},
            sheets={},
        )
    )


def test_the_claims_of_a_run_are_shown(checkout: Path, html: str) -> None:
    found = results.read(checkout / "metrics")
    for section in ("new", "agree", "alike"):
        assert headlines.lines(found, section)
    assert len(headlines.answers(found)) == 2
    for line in (*headlines.answers(found), *headlines.worst(found)):
        assert line.says in [unescape(one) for one in re.findall("<h2>(.*?)</h2>", html)]


def test_a_damaged_table_names_its_stage(tmp_path: Path) -> None:
    (tmp_path / "evaluate.csv").write_text(
        "group,subject,measure,value,low,high,count,unit,better\na,b,c,x,,,1,share,more\n"
    )
    with pytest.raises(InputError, match=r"evaluate.csv is damaged .*--single-item evaluate"):
        results.read(tmp_path)


@pytest.mark.parametrize("name", [name for name in results.files() if name.endswith("csv")])
@pytest.mark.parametrize("cut", [1, 20, 0.5])
def test_a_table_cut_short_is_named_with_its_stage(
    checkout: Path, tmp_path: Path, name: str, cut: float
) -> None:
    text = (checkout / "metrics" / name).read_text()
    kept = text[:-cut] if isinstance(cut, int) else text[: int(cut * len(text))]
    (tmp_path / name).write_text(kept.removesuffix("\n"))
    stage = Path(name).stem
    stage = "evaluate" if stage in ("cycles", "use", "pairs", "measures") else stage
    with pytest.raises(InputError, match=rf"{name} is damaged \(.*--force --single-item {stage}"):
        results.read(tmp_path)


@pytest.mark.parametrize("name", results.NUMBERS)
def test_a_table_without_a_column_names_it_and_its_stage(
    checkout: Path, tmp_path: Path, name: str
) -> None:
    text = (checkout / f"metrics/{name}.csv").read_text()
    for key in (*results.WORDS.get(name, ()), *results.NUMBERS[name]):
        header, _, rest = text.partition("\n")
        renamed = ",".join(one if one != key else "x" for one in header.split(","))
        (tmp_path / f"{name}.csv").write_text(f"{renamed}\n{rest}")
        with pytest.raises(InputError, match=rf"{name}.csv is damaged \(it has no column {key}\)"):
            results.read(tmp_path)


@pytest.mark.parametrize("word", ["red", "1e999", "-inf", "0x1", "1,5"])
@pytest.mark.parametrize("name", results.NUMBERS)
def test_a_word_in_a_table_of_numbers_is_named_with_file_and_line(
    checkout: Path, tmp_path: Path, name: str, word: str
) -> None:
    key = results.NUMBERS[name][-1]
    with (checkout / f"metrics/{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[-1][key] = word
    said = rf"line {len(rows) + 1}: {key} is '{word}'"
    with (tmp_path / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(InputError, match=rf"{name}.csv is damaged \({said}"):
        results.read(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("made", "mide", "line 2: no row of role 'made' is of 'It is new'"),
        ("It is new,x,share,more,floor", "It iS new,x,share,more,floor", "line 3: .* 'It iS new'"),
        (",34", ",3e1", "line 2: count is '3e1', not a whole number"),
        (",34", ",", "line 2: count is '', not a whole number"),
        (",0.5,", ",nan,", "line 2: value is 'nan', not a number"),
    ],
)
def test_a_claim_without_its_own_figure_is_damage(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    """A flipped bit in a word is as good CSV as before."""
    text = (
        "section,claim,says,headline,unit,better,role,label,value,low,high,count\n"
        "new,pairs,It is new,x,share,more,made,pipeline,0.5,,,34\n"
        "new,pairs,It is new,x,share,more,floor,shuffled,0.1,,,\n"
    )
    (tmp_path / "measures.csv").write_text(text)
    assert len(headlines.lines(results.read(tmp_path), "new")) == 1
    assert text.count(before) >= 1
    (tmp_path / "measures.csv").write_text(text.replace(before, after, 1))
    with pytest.raises(InputError, match=rf"measures.csv is damaged \({said}.*item evaluate$"):
        results.read(tmp_path)


@pytest.mark.parametrize("key", ["source", *results.COUNTS])
@pytest.mark.parametrize("value", [None, 1.5, [], True, "\N{SNOWMAN}"])
def test_what_the_page_shows_of_download_is_there(tmp_path: Path, key: str, value: object) -> None:
    whole: dict[str, object] = {**dict.fromkeys(results.COUNTS, 3), "source": "garden"}
    path = tmp_path / "download.json"
    path.write_text(json.dumps(whole))
    assert results.read(tmp_path).summaries["download"] == whole
    for other in ({**whole, key: value}, {k: v for k, v in whole.items() if k != key}):
        if isinstance(other.get(key), str) and key == "source":
            continue
        path.write_text(json.dumps(other))
        with pytest.raises(InputError, match=r"download.json is damaged .*--single-item download$"):
            results.read(tmp_path)


HARM: dict[str, Callable[[bytes], bytes]] = {
    "half of it": lambda data: data[: len(data) // 2],
    "nothing": lambda data: b"",
    "a list": lambda data: b"[1]",
    "no UTF-8": lambda data: b"\xff\xfe{}",
    "nested": lambda data: b'{"a": {"b": 1}}',
    "deep": lambda data: b"[" * 100_000,
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("stage", results.STAGES)
def test_damaged_numbers_are_named_with_their_stage(
    checkout: Path, tmp_path: Path, stage: str, harm: str
) -> None:
    data = (checkout / f"metrics/{stage}.json").read_bytes()
    (tmp_path / f"{stage}.json").write_bytes(HARM[harm](data))
    with pytest.raises(InputError, match=rf"{stage}.json is damaged .*--single-item {stage}$"):
        results.read(tmp_path)


def test_a_damaged_sheet_is_named_with_its_stage(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    data = (checkout / "metrics/figures/samples.png").read_bytes()
    (tmp_path / "figures/samples.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"samples.png is damaged .*--single-item train_gan"):
        results.read(tmp_path)


def test_a_word_where_a_number_should_stand_is_told() -> None:
    with pytest.raises(InputError, match="metrics: 'x' stands where a number should"):
        results.number("x")


def test_nothing_measured_is_nothing_shown(tmp_path: Path) -> None:
    found = results.read(tmp_path)
    assert found == Results(summaries={}, curves={}, figures={}, sheets={})
    assert page.charts(found) == []
    assert headlines.answers(found) == headlines.worst(found) == []


def test_the_gallery_has_the_best_the_worst_and_the_least_new() -> None:
    rng = np.random.default_rng(0)
    scores, distances = rng.random((2, 3 * gallery.MOST))
    rows = gallery.choose(scores, distances)
    assert len(rows) == len(set(rows)) == gallery.MOST
    assert scores[rows].tolist() == sorted(scores[rows], reverse=True)
    order, near = np.argsort(-scores), np.argsort(distances)
    for wanted in (order[: gallery.ENDS], order[-gallery.ENDS :], near[: gallery.ENDS]):
        assert set(wanted.tolist()) <= set(rows)
    assert gallery.choose(scores[:5], distances[:5]) == np.argsort(-scores[:5]).tolist()


def test_an_image_comes_back_from_its_address() -> None:
    pixels = torch.full((1, 3, 64, 64), 200, dtype=torch.uint8)
    (address,) = gallery.addresses(pixels)
    assert address.startswith("data:image/webp;base64,")
    assert gallery.addresses(pixels) == [address]


def chart(name: str = "a") -> charts.Chart:
    series = [
        charts.Series(name="<b>", xs=[1, 2, 3], ys=[0.1, 0.4, 0.2], colour=0, errors=[0.1] * 3)
    ]
    series.append(charts.Series(name="by chance", xs=[1, 3], ys=[0.1, 0.1], colour=1, control=True))
    return charts.lines(name, "A chart", "It rises.", series, x="epoch", y="loss", unit=True)


def test_a_chart_takes_the_colours_of_the_page() -> None:
    svg = chart().svg
    assert svg == chart().svg
    assert svg.startswith("<svg")
    assert 'role="img" aria-labelledby="a-title a-says"' in svg
    assert '<title id="a-title">A chart</title><desc id="a-says">It rises.</desc>' in svg
    assert "currentColor" in svg
    assert charts.INK not in svg
    assert "http" not in svg
    assert "&lt;b&gt;" in svg
    names = set(re.findall(r'id="([^"]+)"', svg))
    assert all(name.startswith("a-") for name in names)
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', svg)) <= names
    assert not names & set(re.findall(r'id="([^"]+)"', chart("b").svg))


def test_what_could_not_be_measured_leaves_a_gap() -> None:
    """A measure of cycles may have no value at a turn: a caption that names nothing."""
    rows: list[Mapping[str, str]] = [
        {"start": "text", "turn": t, "measure": "colours_f1", "value": v, "shuffled": ""}
        for t, v in (("1", ""), ("2", "0.5"), ("3", "0.4"))
    ]
    (drawn_,) = curves.cycles(Results(summaries={}, curves={"cycles": rows}, figures={}, sheets={}))
    assert drawn_.title == "From captions: share kept"
    assert drawn_.svg
    assert "nan" not in drawn_.says


@pytest.mark.parametrize("look", [{}, {"unit": True}, {"lowest": 0.0}])
@pytest.mark.parametrize("ys", [[], [nan], [nan, -5.0], [-5.0, nan, 0.4]])
def test_a_chart_of_few_values_or_none_is_drawn(ys: list[float], look: dict[str, Any]) -> None:
    series = [charts.Series(name="a", xs=range(len(ys)), ys=ys, colour=0)]
    assert charts.lines("a", "A chart", "It rises.", series, x="epoch", y="loss", **look).svg


@pytest.mark.parametrize("count", [1, 4])
def test_the_sheet_holds_every_chart(count: int) -> None:
    sheet = charts.sheet_of([chart(str(i)) for i in range(count)], 3)
    assert sheet.height == pytest.approx(90 * -(-count // 3) * (charts.SIZE[1] + 0.3), abs=2)
    assert np.asarray(charts.sheet_of([])).min() == 255


def test_use_is_drawn_for_each_task_with_the_intervals_of_gains() -> None:
    rows: list[Mapping[str, str]] = [
        {"task": t, "arm": a, "share": s, "value": v, "low": low, "high": high, "seeds": "3"}
        for t in ("retrieval", "captioning")
        for a, low, high in (("real", "", ""), ("both", "-0.1", "0.3"), ("other", "", ""))
        for s, v in (("0.2", "0.5"), ("1", "0.8"), ("0.05", ""))
    ]
    found = Results(summaries={}, curves={"use": rows}, figures={}, sheets={})
    told = {(o.task, o.arm, o.share): (o.mean, o.half, o.seeds) for o in curves.arms(found)}
    assert told["captioning", "both", 0.2] == pytest.approx((0.5, 0.2, 3))
    assert told["captioning", "real", 1.0] == (0.8, 0.0, 3)
    assert len(told) == 12
    drawn_ = list(curves.use(found))
    assert [one.title for one in drawn_] == ["Retrieval", "Captioning"]
    assert "real and synthetic" in drawn_[0].says
    assert drawn_[0].svg


@pytest.mark.parametrize(
    ("measure", "unit"),
    [
        ("phi_cosine", "cosine"),
        ("pixel_cosine_centred", "cosine_centred"),
        ("bleu_4", "bleu"),
        ("median_rank", "rank"),
        ("petal_colour_kept", "share"),
        ("colours_f1", "share"),
    ],
)
def test_measures_of_cycles_find_their_axis(measure: str, unit: str) -> None:
    assert curves.unit_of(measure) == unit


def test_the_map_is_that_of_principal_components() -> None:
    rng = np.random.default_rng(0)
    real = rng.standard_normal((50, 6)) * [5, 3, 1, 1, 1, 1]
    other = rng.standard_normal((20, 6))
    (mapped, others), share = drawn.principal(real, other)
    _, sizes, axes = np.linalg.svd(real - real.mean(0), full_matrices=False)
    axes = axes[:2] * np.sign(axes[[0, 1], np.abs(axes[:2]).argmax(1)])[:, None]
    assert np.allclose(mapped, (real - real.mean(0)) @ axes.T)
    assert np.allclose(others, (other - real.mean(0)) @ axes.T)
    assert share == pytest.approx((sizes**2 / (sizes**2).sum())[:2].tolist())


def test_the_real_ends_stand_at_both_sides(checkout: Path) -> None:
    report = report_of(checkout / "data", checkout / "metrics", checkout / "params.yaml")
    for strip in report.blends["Between two images"]:
        assert [step.label == "real image" for step in strip.steps] == [
            True,
            *[False] * drawn.STEPS,
            True,
        ]
    for strip in report.blends["Between two captions"]:
        assert len(strip.steps) == drawn.STEPS
    assert {strip.steps[0].image == "" for strip in report.cycles} == {True, False}
    assert set(report.components) == {"psi", "phi"}
