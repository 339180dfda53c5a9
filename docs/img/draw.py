"""Draws the pictures of the documentation: python docs/img/draw.py

Each NAME.txt in this folder describes NAME.svg, one shape a line; names and positions come first, text last:

    size WIDTH HEIGHT
    title TEXT                                        what a reader who cannot see the picture is told
    box NAME X Y WIDTH HEIGHT COLOUR TEXT | TEXT      the first text is bold, the others are lines below it
    line FROM TO [dashed] [arrow] [TEXT]              from box to box; the text lies beside its middle
    text X Y TEXT                                     begins at X

Text outside of boxes and lines are grey, and boxes bring their own background, so the pictures can be read on
a light page as well as on a dark one.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent

# Background, border.
COLOURS = {
    "blue": ("#d7e8fb", "#3b78b5"),
    "green": ("#d9f0dc", "#3f8f4c"),
    "yellow": ("#fbeec6", "#b08a1e"),
    "red": ("#fadbd6", "#b5493b"),
    "grey": ("#e6e8eb", "#7d858f"),
    "violet": ("#e8e0f7", "#7a5bb5"),
}
INK = "#1d232a"  # on those
GREY = "#7d858f"  # on the page, whatever its colour
FONT = 'font-family="Helvetica, Arial, sans-serif" font-size="13"'
LINE_HEIGHT = 17


@dataclass
class Box:
    x: int
    y: int
    width: int
    height: int

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass
class Picture:
    """A description, as it is read line by line."""

    width: int = 0
    height: int = 0
    title: str = ""
    boxes: dict[str, Box] = field(default_factory=dict)
    shapes: list[str] = field(default_factory=list)

    def read(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        match kind:
            case "size":
                self.width, self.height = map(int, rest.split())
            case "title":
                self.title = rest
            case "box":
                self.box(rest)
            case "line":
                self.line(rest.split())
            case "text":
                x, y, text = rest.split(maxsplit=2)
                self.shapes.append(words(int(x), int(y), text, "start", GREY))
            case _:
                raise ValueError(f"{line!r}: what is {kind!r}?")

    def box(self, rest: str) -> None:
        name, x, y, width, height, colour, text = rest.split(maxsplit=6)
        box = self.boxes[name] = Box(int(x), int(y), int(width), int(height))
        fill, border = COLOURS[colour]
        self.shapes.append(
            f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="5" '
            f'fill="{fill}" stroke="{border}"/>'
        )
        lines = [part.strip() for part in text.split("|")]
        x_middle, y_middle = box.middle
        y_text = y_middle - (len(lines) - 1) * LINE_HEIGHT / 2 + 4.5
        for i, part in enumerate(lines):
            self.shapes.append(words(x_middle, y_text + i * LINE_HEIGHT, part, "middle", INK, bold=i == 0))

    def line(self, fields: list[str]) -> None:
        start, end = self.boxes[fields[0]], self.boxes[fields[1]]
        rest = fields[2:]
        style = ""
        while rest and rest[0] in {"dashed", "arrow"}:
            style += ' stroke-dasharray="5 4"' if rest.pop(0) == "dashed" else ' marker-end="url(#arrow)"'
        (x1, y1), (x2, y2) = ends(start, end)
        self.shapes.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{GREY}" '
            f'stroke-width="1.5"{style}/>'
        )
        if rest:
            self.shapes.append(words((x1 + x2) / 2 + 7, (y1 + y2) / 2 + 4.5, " ".join(rest), "start", GREY))

    def svg(self) -> str:
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
                f'viewBox="0 0 {self.width} {self.height}" role="img" {FONT}>',
                f"<title>{escape(self.title)}</title>",
                '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
                f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{GREY}"/></marker></defs>',
                *self.shapes,
                "</svg>",
                "",
            ]
        )


def words(x: float, y: float, text: str, anchor: str, colour: str, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(text)}</text>'


def ends(a: Box, b: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where a line leaves one box and meets the other: upright if one of them is above the other."""
    left, right = max(a.x, b.x), min(a.x + a.width, b.x + b.width)
    if left < right:
        x = (left + right) / 2
        return ((x, a.y + a.height), (x, b.y)) if a.y < b.y else ((x, a.y), (x, b.y + b.height))
    y_a, y_b = a.middle[1], b.middle[1]
    return ((a.x + a.width, y_a), (b.x, y_b)) if a.x < b.x else ((a.x, y_a), (b.x + b.width, y_b))


def draw(description: str) -> str:
    """The SVG file that the description asks for."""
    picture = Picture()
    for line in description.splitlines():
        if line.strip() and not line.startswith("#"):
            picture.read(line.strip())
    return picture.svg()


def main() -> int:
    for file in sorted(HERE.glob("*.txt")):
        file.with_suffix(".svg").write_text(draw(file.read_text()))
        print(file.with_suffix(".svg").name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
