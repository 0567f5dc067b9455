"""Draw docs/pictures/rooms.svg: the rooms of the house and which imports which, read from the code.

A room is a module or a package directly inside `retrieval` or `trainer`; `cli` and `itemrec` are shown as what they are
to the rest. Every import counts, also one inside a function or for types alone. An arrow that follows from two
others is left out, so that the picture shows the order and not the traffic.

    python docs/pictures/rooms.py            (make architecture)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from math import fsum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = Path(__file__).with_name("rooms.svg")
PACKAGES = ("itemrec", "retrieval", "trainer", "cli")

WIDTH, MARGIN, GUTTER, PAD = 1200, 24, 48, 22
BOX, FLOOR, SPACE, LANE = 34, 76, 18, 16
"""Pixels: a box's height, a floor's, between two boxes, beside an arrow that passes a floor."""

Edges = Mapping[str, set[str]]


def rooms() -> list[str]:
    """Dotted names of the rooms: `cli`, `itemrec`, `retrieval.index`, `trainer.train`, …"""
    inner = [
        f"{package}.{path.stem}"
        for package in ("retrieval", "trainer")
        for path in sorted((ROOT / package).iterdir())
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
    ]
    return ["cli", "itemrec", *inner]


def arrows(names: Sequence[str]) -> dict[str, set[str]]:
    """Room -> the rooms that it imports."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for name in names:
        place = ROOT / name.replace(".", "/")
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
            if name == "itemrec" and file.stem == "__main__":
                continue  # the command's entry, above `cli`; the rest of itemrec is the library's front door
            for module in _imported(file):
                target = _room(module, names)
                if target is not None and target != name:
                    found[name].add(target)
    return found


def _imported(file: Path) -> Iterator[str]:
    """Dotted names that a file imports; of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room(module: str, names: Sequence[str]) -> str | None:
    parts = module.split(".")
    return next((n for n in (parts[0], ".".join(parts[:2])) if n in names), None)


def reduced(edges: Edges) -> dict[str, set[str]]:
    """Without the arrows that follow from others.

    Raises:
        ValueError: rooms import each other in a circle.
    """
    below: dict[str, set[str]] = {}

    def reach(name: str, path: tuple[str, ...] = ()) -> set[str]:
        if name in path:
            raise ValueError(f"rooms import each other in a circle: {' -> '.join([*path, name])}")
        if name not in below:
            below[name] = set().union(*({low} | reach(low, (*path, name)) for low in sorted(edges[name])))
        return below[name]

    for name in edges:
        reach(name)
    return {n: {low for low in lows if not any(low in below[via] for via in lows)} for n, lows in edges.items()}


def floors(edges: Edges) -> dict[str, int]:
    """Room -> its floor: below every room that imports it, above every room that it imports, arrows short."""
    found: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in found:
            found[name] = max((floor(low) + 1 for low in edges[name]), default=0)
        return found[name]

    for name in edges:
        floor(name)
    above = {name: [high for high, lows in edges.items() if name in lows] for name in edges}
    for name in sorted(edges, key=lambda name: -found[name]):
        if len(above[name]) > len(edges[name]):
            found[name] = min(found[high] for high in above[name]) - 1
    return found


@dataclass
class Plan:
    """One package laid out: floors from the ground up, each a row of rooms and of lanes for arrows that pass.

    A lane is a tuple (upper room, lower room, floor).
    """

    edges: Edges
    width: dict[str, float]
    level: dict[str, int] = field(default_factory=dict)
    rows: list[list[object]] = field(default_factory=list)
    links: list[tuple[object, object]] = field(default_factory=list)
    x: dict[object, float] = field(default_factory=dict)

    def arrange(self, room: float) -> None:
        """Order every floor so that few arrows cross, then place it within this many pixels."""
        self.level = floors(self.edges)
        self.rows = [[] for _ in range(max(self.level.values()) + 1)]
        for name in sorted(self.edges):
            self.rows[self.level[name]].append(name)
        for high in sorted(self.edges):
            for low in sorted(self.edges[high]):
                chain: list[object] = [high]
                for level in range(self.level[high] - 1, self.level[low], -1):
                    chain.append((high, low, level))
                    self.rows[level].append(chain[-1])
                self.links += pairwise([*chain, low])
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(60):
            ups = range(1, len(self.rows)) if sweep % 2 else range(len(self.rows) - 2, -1, -1)
            for level in ups:
                self._sort(level, level - 1 if sweep % 2 else level + 1)
            self._swap_neighbors()
            if (crossings := self._crossings()) < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best
        self._place(room)

    def _neighbors(self, item: object, level: int) -> list[object]:
        row = set(self.rows[level])
        return [b if a == item else a for a, b in self.links if item in (a, b) and (b if a == item else a) in row]

    def _sort(self, level: int, beside: int) -> None:
        at = {item: place for place, item in enumerate(self.rows[beside])}
        now = {item: place for place, item in enumerate(self.rows[level])}

        def center(item: object) -> float:
            places = [at[other] for other in self._neighbors(item, beside)]
            return fsum(places) / len(places) if places else now[item] * len(at) / len(now)

        self.rows[level].sort(key=lambda item: (center(item), now[item]))

    def _swap_neighbors(self) -> None:
        for row in self.rows:
            for place in range(len(row) - 1):
                before = self._crossings()
                row[place], row[place + 1] = row[place + 1], row[place]
                if self._crossings() >= before:
                    row[place], row[place + 1] = row[place + 1], row[place]

    def _crossings(self) -> int:
        at = {item: (level, place) for level, row in enumerate(self.rows) for place, item in enumerate(row)}
        between: dict[int, list[tuple[int, int]]] = {}
        for high, low in self.links:
            between.setdefault(at[low][0], []).append((at[high][1], at[low][1]))
        return sum(
            (a[0] - b[0]) * (a[1] - b[1]) < 0
            for lines in between.values()
            for n, a in enumerate(lines)
            for b in lines[n + 1 :]
        )

    def half(self, item: object) -> float:
        """Half the width that an item takes."""
        return self.width[item] / 2 if isinstance(item, str) else LANE / 2

    def _place(self, room: float) -> None:
        """Every item near the middle of what it is linked with, in its row's order, no two overlapping."""
        for row in self.rows:
            step = room / len(row)
            self.x |= {item: step * (place + 0.5) for place, item in enumerate(row)}
        linked: dict[object, list[object]] = {item: [] for row in self.rows for item in row}
        for high, low in self.links:
            linked[high].append(low)
            linked[low].append(high)
        for _ in range(200):
            for row in self.rows:
                wishes = [
                    fsum(self.x[other] for other in linked[item]) / len(linked[item]) if linked[item] else self.x[item]
                    for item in row
                ]
                self._settle(row, wishes, room)

    def _settle(self, row: list[object], wishes: list[float], room: float) -> None:
        """The places nearest to the wishes that keep the order and the distances (isotonic regression)."""
        offsets = [0.0]
        for left, right in pairwise(row):
            offsets.append(offsets[-1] + self.half(left) + self.half(right) + SPACE)
        blocks: list[list[float]] = []  # sum, count
        for wish, offset in zip(wishes, offsets, strict=True):
            blocks.append([wish - offset, 1])
            while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
                total, count = blocks.pop()
                blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + count]
        lowest, highest = self.half(row[0]), room - self.half(row[-1]) - offsets[-1]
        settled = [total / count for total, count in blocks for _ in range(int(count))]
        for item, place, offset in zip(row, settled, offsets, strict=True):
            self.x[item] = min(max(place, lowest), max(highest, lowest)) + offset


STYLE = """
svg { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
.sky { fill: #ffffff; }
.package { fill: #f3f5f8; stroke: #d3dae3; }
.room { fill: #ffffff; stroke: #8a97a9; stroke-width: 1.2; }
.name { fill: #16191d; font-size: 14px; text-anchor: middle; }
.title { font-size: 17px; font-weight: 650; }
.note { fill: #59616b; font-size: 13px; }
.arrow { fill: none; stroke: #8592a6; stroke-width: 1.4; }
.wide { fill: none; stroke: #59616b; stroke-width: 2.4; }
.head { fill: #8592a6; }
.widehead { fill: #59616b; }
.cli { fill: #2456a6; } .itemrec { fill: #7a3fa0; } .trainer { fill: #8a5300; } .retrieval { fill: #17703a; }
@media (prefers-color-scheme: dark) {
  .sky { fill: #0e1217; }
  .package { fill: #171d25; stroke: #2d3743; }
  .room { fill: #222b36; stroke: #5d6c82; }
  .name { fill: #e9edf2; }
  .note { fill: #a3aebc; }
  .arrow { stroke: #7c8ba1; }
  .wide { stroke: #a3aebc; }
  .head { fill: #7c8ba1; }
  .widehead { fill: #a3aebc; }
  .cli { fill: #7fb0ff; } .itemrec { fill: #cf9bf0; } .trainer { fill: #f0b357; } .retrieval { fill: #6fcf97; }
}
""".strip()
NOTES = {
    "cli": "one module per command: words, options, exit codes",
    "itemrec": "the library's front door",
    "trainer": "learns a model; the only one that imports Keras",
    "retrieval": "indexes, answers, measures; never imports TensorFlow",
}
_BAND, _TITLE, _FOOT, _GAP, _ROUND = 62, 64, 58, 52, 12


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(kind: str, x: float, y: float, words: str) -> str:
    return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}">{escape(words)}</text>'


def _panel(package: str, x: float, y: float, width: float, height: float) -> list[str]:
    area = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
    return [
        f'<rect class="package" {area} rx="{_ROUND}"/>',
        _text(f"title {package}", x + PAD, y + 29, f"{package}/"),
        _text("note", x + PAD, y + 49, NOTES[package]),
    ]


def _label(name: str) -> str:
    """What the room is called on disk."""
    place = ROOT / name.replace(".", "/")
    return f"{place.name}/" if place.is_dir() else f"{place.name}.py"


def _ports(plan: Plan) -> dict[tuple[object, object], tuple[float, float]]:
    """Where each link leaves its upper end and enters its lower one, side by side in the order of their other ends."""
    found: dict[tuple[object, object], list[float]] = {link: [plan.x[link[0]], plan.x[link[1]]] for link in plan.links}
    for end in (0, 1):
        for item in [item for row in plan.rows for item in row if isinstance(item, str)]:
            mine = sorted((link for link in plan.links if link[end] == item), key=lambda link: plan.x[link[1 - end]])
            step = min(14.0, (2 * plan.half(item) - 24) / max(len(mine) - 1, 1))
            for place, link in enumerate(mine):
                found[link][end] += step * (place - (len(mine) - 1) / 2)
    return {link: (high, low) for link, (high, low) in found.items()}


def _storeys(plan: Plan, left: float, ground: float, storey: float) -> list[str]:
    def top(item: object) -> float:
        level = plan.level[item] if isinstance(item, str) else item[2]  # type: ignore[index]
        return ground - level * storey - BOX

    lines, boxes = [], []
    ports = _ports(plan)
    for high, low in plan.links:
        x0, x1 = left + ports[high, low][0], left + ports[high, low][1]
        y0, y1 = top(high) + BOX, top(low) - (3 if isinstance(low, str) else 0)
        middle = (y0 + y1) / 2
        through = f" V{_n(y1 + BOX)}" if not isinstance(low, str) else ""
        end = ' marker-end="url(#head)"' if isinstance(low, str) else ""
        curve = f"M{_n(x0)} {_n(y0)} C{_n(x0)} {_n(middle)} {_n(x1)} {_n(middle)} {_n(x1)} {_n(y1)}{through}"
        lines.append(f'<path class="arrow" d="{curve}"{end}/>')
    for row in plan.rows:
        for item in row:
            if isinstance(item, str):
                half, x, y = plan.half(item), left + plan.x[item], top(item)
                area = f'x="{_n(x - half)}" y="{_n(y)}" width="{_n(2 * half)}" height="{BOX}"'
                boxes.append(f'<rect class="room" {area} rx="7"/>')
                boxes.append(_text("name", x, y + BOX / 2 + 5, _label(item)))
    return [*lines, *boxes]


def draw() -> str:
    """The picture as SVG; the same bytes for the same imports."""
    names = rooms()
    every = arrows(names)
    plans, side = {}, (WIDTH - 2 * MARGIN - GUTTER) / 2
    for package in ("trainer", "retrieval"):
        inner = {n: {low for low in every[n] if low.startswith(package)} for n in names if n.startswith(f"{package}.")}
        plans[package] = Plan(reduced(inner), {n: 8.2 * len(_label(n)) + 26 for n in inner})
        plans[package].arrange(side - 2 * PAD)
    most = max(len(plan.rows) for plan in plans.values())
    house = most * FLOOR + _TITLE + _FOOT
    left = {"cli": MARGIN, "itemrec": MARGIN + side + GUTTER}
    left |= {"trainer": left["cli"], "retrieval": left["itemrec"]}
    below = MARGIN + _BAND + _GAP
    height = below + house + MARGIN
    drawn = [f'<rect class="sky" width="{WIDTH}" height="{_n(height)}" rx="{_ROUND}"/>']
    for package in ("cli", "itemrec"):
        drawn += _panel(package, left[package], MARGIN, side, _BAND)
    for package, plan in plans.items():
        drawn += _panel(package, left[package], below, side, house)
        ground = below + house - _FOOT
        storey = (house - _TITLE - _FOOT - BOX - 14) / max(len(plan.rows) - 1, 1)
        drawn += _storeys(plan, left[package] + PAD, ground, storey)
    used = sorted(
        {low.partition(".")[2] for n in names if n.startswith("trainer.") for low in every[n] if "al." in low}
    )
    foot = below + house - 14
    for line in reversed(_wrapped(f"of retrieval it imports {', '.join(used)}", 74)):
        drawn.append(_text("note", left["trainer"] + PAD, foot, line))
        foot -= 18
    drawn.append(
        _text("note", left["retrieval"] + PAD, below + house - 14, "an arrow: the upper room imports the lower")
    )
    pairs = {(n.partition(".")[0], low.partition(".")[0]) for n in names for low in every[n]}
    for high, low in sorted(pair for pair in pairs if pair[0] != pair[1]):
        drawn.append(_between(high, low, left, side, below, house))
    head = (
        '<marker id="{}" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="{}" markerHeight="{}" orient="auto" '
        'markerUnits="userSpaceOnUse"><path class="{}" d="M0 0.8L9 5L0 9.2z"/></marker>'
    )
    defs = head.format("head", 10, 10, "head") + head.format("widehead", 14, 14, "widehead")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {_n(height)}" width="{WIDTH}" '
        f'height="{_n(height)}" role="img">\n<title>The rooms of itemrec and which imports which</title>\n'
        f"<style>\n{STYLE}\n</style>\n<defs>{defs}</defs>\n" + "\n".join(drawn) + "\n</svg>\n"
    )


def _wrapped(words: str, width: int) -> list[str]:
    lines = [""]
    for word in words.split(" "):
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _between(high: str, low: str, left: Mapping[str, float], side: float, below: float, house: float) -> str:
    """An arrow from one package to another: down, to the right, or across."""
    upper = {"cli", "itemrec"}
    if (high in upper) == (low in upper):
        y = MARGIN + _BAND / 2 if high in upper else below + house / 2
        x = (left[high] + side, left[low] - 3) if left[high] < left[low] else (left[high], left[low] + side + 3)
        curve = f"M{_n(x[0])} {_n(y)} H{_n(x[1])}"
    else:
        x0, x1 = left[high] + side / 2, left[low] + side / 2
        y0, y1 = MARGIN + _BAND, below - 3
        if x0 != x1:
            toward = 1 if x1 > x0 else -1
            x0, x1 = x0 + toward * 60, x1 - toward * 60
        middle = (y0 + y1) / 2
        curve = f"M{_n(x0)} {_n(y0)} C{_n(x0)} {_n(middle)} {_n(x1)} {_n(middle)} {_n(x1)} {_n(y1)}"
    return f'<path class="wide" d="{curve}" marker-end="url(#widehead)"/>'


if __name__ == "__main__":
    OUT.write_text(draw(), encoding="utf-8")
