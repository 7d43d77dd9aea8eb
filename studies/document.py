"""A report as data: sections of paragraphs, tables and pictures, which Markdown and HTML show alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Paragraph:
    """Text; words between backticks are code, between double asterisks strong."""

    text: str


@dataclass(frozen=True)
class Table:
    """Cells of text.

    Attributes:
        header: one entry per column.
        rows: cells, row by row.
        numeric: columns that are aligned to the right.
        marks: a word per row that HTML colours its last cell by, e.g. a verdict; empty for none.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A drawing.

    Attributes:
        svg: an `<svg>` element in which `currentColor` is the colour of text.
        caption: what it shows.
    """

    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A headline and what stands below it."""

    title: str
    blocks: tuple[Paragraph | Table | Picture, ...]


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: its headline.
        sections: the first one has no headline of its own.
    """

    title: str
    sections: Sequence[Section] = field(default_factory=tuple)


def render_markdown(document: Document, pictures_in: str) -> str:
    """The report as Markdown; pictures are left to the page.

    Args:
        document: the report.
        pictures_in: name of the page that has the pictures.

    Returns:
        The text, with a final newline.
    """
    lines = [f"# {document.title}", ""]
    for section in document.sections:
        lines += [f"## {section.title}", ""] if section.title else []
        for block in section.blocks:
            lines += [*_markdown_lines(block, pictures_in), ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_lines(block: Paragraph | Table | Picture, pictures_in: str) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield block.text
    elif isinstance(block, Picture):
        yield f"[{block.caption}]({pictures_in})"
    else:
        yield _markdown_row(block.header)
        yield _markdown_row(["---:" if column in block.numeric else "---" for column in range(len(block.header))])
        yield from (_markdown_row(row) for row in block.rows)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
