"""The report as one HTML page that needs nothing else: no scripts, no files, light or dark as the reader has it."""

import html
import re

from studies.document import Document, Paragraph, Picture, Section, Table

STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfb; --ink: #1d2329; --quiet: #66707a; --line: #dfe3e6;
  --band: #f3f5f6; --good: #1f7a4d; --other: #9a6700; --bad: #b3362c; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181c; --ink: #e3e7ea; --quiet: #98a2ac;
  --line: #30383f; --band: #1b2126; --good: #5cc792; --other: #e0b04a; --bad: #f08a80; } }
body { margin: 0 auto; max-width: 76rem; padding: 2.5rem 1.25rem 5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .6rem 0; }
nav { margin: 1.2rem 0 0; color: var(--quiet); }
nav a { margin-right: 1rem; white-space: nowrap; }
a { color: inherit; text-underline-offset: .2em; }
code { font: .9em ui-monospace, monospace; background: var(--band); padding: .1em .35em; border-radius: 3px; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; min-width: 40%; }
th, td { padding: .35rem 1rem .35rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--quiet); vertical-align: bottom; }
th.number, td.number { text-align: right; } td.number { white-space: nowrap; }
tbody tr:hover { background: var(--band); }
.as-stated { color: var(--good); font-weight: 600; white-space: nowrap; }
.another-setting { color: var(--other); font-weight: 600; }
.not-replicated { color: var(--bad); font-weight: 600; } .unfinished, .nothing-reported { color: var(--quiet); }
figure { margin: 1.5rem 0; } figcaption { color: var(--quiet); font-size: .87rem; max-width: 46rem; }
figure svg { max-width: 100%; height: auto; display: block; }
"""


def render_page(document: Document) -> str:
    """The report as an HTML document.

    Args:
        document: the report.

    Returns:
        The text of the page.
    """
    sections = "\n".join(_section(section) for section in document.sections)
    title = html.escape(document.title)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{sections}\n</body>\n</html>\n"
    ).replace("<nav></nav>", _contents(document), 1)


def _contents(document: Document) -> str:
    titles = [section.title for section in document.sections if section.title]
    return "<nav>" + "".join(f'<a href="#{_anchor(title)}">{html.escape(title)}</a> ' for title in titles) + "</nav>"


def _section(section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    if not section.title:
        return f"<section>\n{blocks}\n<nav></nav>\n</section>"
    heading = f'<h2 id="{_anchor(section.title)}">{html.escape(section.title)}</h2>'
    return f"<section>\n{heading}\n{blocks}\n</section>"


def _block(block: Paragraph | Table | Picture) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{_inline(block.text)}</p>"
    if isinstance(block, Picture):
        return f"<figure>{block.svg}<figcaption>{_inline(block.caption)}</figcaption></figure>"
    header = "".join(_cell("th", cell, index in block.numeric) for index, cell in enumerate(block.header))
    rows = "\n".join(_row(block, number) for number in range(len(block.rows)))
    return f'<div class="scroll"><table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>'


def _row(table: Table, number: int) -> str:
    cells = [_cell("td", cell, index in table.numeric) for index, cell in enumerate(table.rows[number])]
    if table.marks:
        mark = table.marks[number].replace(" ", "-")
        cells[-1] = f'<td class="{mark}">{_inline(table.rows[number][-1])}</td>'
    return f"<tr>{''.join(cells)}</tr>"


def _cell(tag: str, text: str, is_number: bool) -> str:
    opening = f'<{tag} class="number">' if is_number else f"<{tag}>"
    return f"{opening}{_inline(text)}</{tag}>"


def _inline(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
