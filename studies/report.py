"""`python -m studies.report`: writes `studies/REPORT.md` and `studies/report.html` from the results that are there."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import PipelineError
from studies.chapters import write_report
from studies.document import render_markdown
from studies.evidence import Evidence
from studies.page import render_page
from studies.params import load_studies
from studies.results import Results
from studies.schedule import count_runs

PAGE = "report.html"
MARKDOWN = "REPORT.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m studies.report", description="Writes the report of the studies.")
    parser.add_argument("--folder", type=Path, default=Path("studies"), help="has params.yaml and results (studies)")
    folder = parser.parse_args(argv).folder
    try:
        evidence = Evidence(load_studies(folder / "params.yaml"), Results(folder / "results"))
        document = write_report(evidence)
    except PipelineError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    _write(folder / PAGE, render_page(document))
    _write(folder / MARKDOWN, render_markdown(document, PAGE))
    missing = len(evidence.missing)
    state = f"{count_runs(missing)} missing: python -m studies.run" if missing else "nothing is missing"
    print(f"{folder / MARKDOWN} and {folder / PAGE} from {count_runs(len(evidence.used))}; {state}.")  # noqa: T201
    return 0


def _write(path: Path, text: str) -> None:
    building = path.with_name(f".{path.name}.building")
    building.write_text(text, encoding="utf-8")
    os.replace(building, path)


if __name__ == "__main__":
    sys.exit(main())
