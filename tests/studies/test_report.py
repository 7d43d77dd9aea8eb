import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from studies.params import load_studies
from studies.report import main
from studies.runs import fixed_runs
from studies.tables import changed_until
from tests.studies.small_studies import save_figures

PARAMS = Path(__file__).parent.parent.parent / "studies" / "params.yaml"
WEIGHTS = tuple(
    {"epoch": epoch, "layer": f"hidden_{layer}", "units": 32, "distinct": 1, "low": 0.0, "high": 0.1, "counts": [3, 1]}
    for epoch in (0, 500)
    for layer in (1, 3, 5)
)


class Page(HTMLParser):
    """Notes what a page refers to and whether its tags close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("href", "src", "xlink:href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):  # noqa: ARG002
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def folder(tmp_path):
    shutil.copyfile(PARAMS, tmp_path / "params.yaml")
    return tmp_path


def save_row(folder, name, test, **facts):
    for run in fixed_runs(load_studies(folder / "params.yaml"), name):
        save_figures(folder / "results", run, test, 0.9, **facts)


def test_a_report_without_results_says_what_to_run(folder, capsys):
    assert main(["--folder", str(folder)]) == 0
    text = (folder / "REPORT.md").read_text(encoding="utf-8")
    assert "34 unfinished" in text
    assert "runs missing**" in text
    assert "python -m studies.run" in capsys.readouterr().out
    assert Page((folder / "report.html").read_text(encoding="utf-8")).open == []


def test_a_report_shows_reported_and_measured_figures_with_the_verdict(folder):
    save_row(folder, "D4", 0.9770)
    save_row(folder, "D16", 0.9700)
    assert main(["--folder", str(folder)]) == 0
    lines = (folder / "REPORT.md").read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if line.startswith("| D4 "))
    assert "0.9993 / - / 0.9800" in row
    assert "0.5000 / 0.9000 / 0.9770 ± 0.0000 | 3 | -0.0030 | 8 s | replicated as stated |" in row
    assert "unfinished, 1 run missing" in next(line for line in lines if line.startswith("| D16 "))


def test_the_page_needs_nothing_from_elsewhere_and_draws_what_is_there(folder):
    for name in ("A2", "A8", "B2", "B3", "B5", "R1"):
        save_row(folder, name, 0.2, weights=WEIGHTS if name in ("B2", "B3") else ())
    assert main(["--folder", str(folder)]) == 0
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert all(link.startswith("#") for link in page.links)
    assert text.count("<svg") == 6
    assert "Histograms of kernels" in text


def test_a_training_that_failed_is_said(folder):
    save_row(folder, "A9", None, failure="loss became nan in epoch 1")
    assert main(["--folder", str(folder)]) == 0
    assert "| 0.0001 | training failed |" in (folder / "REPORT.md").read_text(encoding="utf-8")


def test_the_same_results_give_the_same_report(folder):
    save_row(folder, "A2", 0.94)
    contents = []
    for _ in range(2):
        main(["--folder", str(folder)])
        contents.append((folder / "report.html").read_bytes())
    assert contents[0] == contents[1]


def test_weights_that_stand_still_are_found():
    looks = [{"epoch": epoch, "low": low, "high": 1.0, "counts": [1]} for epoch, low in ((0, 0.0), (1, 0.5), (5, 0.5))]
    assert changed_until(looks) == 1
    assert changed_until(looks[1:]) == 0
