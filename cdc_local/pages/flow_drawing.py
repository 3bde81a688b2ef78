"""The flow graph of an update as lines and boxes, laid out by the chapter `layout` as all our graphs are."""

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError
from typing import Any

from cdc_local.pages.rendering import short_name
from cdc_local.pages.summaries import DatasetSummary
from cdc_utils.layout import GAP, layers, placed, routes, untangled

_BOX_HEIGHT, _ROOM = 64, 20  # Of a box, and between two of them
_LETTER, _LONGEST = 7.4, 30  # Width of a letter of a name, and how many are shown
_NARROWEST = 212  # For the numbers of a box


@dataclass(frozen=True)
class Box:
    "A dataset in the drawing; `x` and `y` are its upper left corner."

    dataset: DatasetSummary
    x: float
    y: float
    width: float
    height: float

    @property
    def label(self) -> str:
        "Its name, as far as there is room."
        name = short_name(self.dataset.name)
        return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


@dataclass(frozen=True)
class Arrow:
    "From what is read to its reader."

    path: str  # As `d` of an SVG path
    is_auto_cdc: bool  # Whether AUTO CDC applies what is read


@dataclass(frozen=True)
class Drawing:
    "All boxes and arrows, and how much room they need."

    boxes: list[Box]
    arrows: list[Arrow]
    width: float
    height: float
    words: str  # What it shows, for those who do not see it


def draw_flows(
    datasets: Mapping[str, DatasetSummary],  # By name
) -> Drawing | None:  # None where nothing is known, or a log tells of a circle
    "Lay out what fills what."
    inputs = {name: sorted(dataset.inputs) for name, dataset in datasets.items()}
    try:
        rows, ways = routes(layers(inputs), inputs)
    except CycleError:
        return None
    if not inputs:
        return None
    widths = {name: _box_width(name) for name in inputs}
    place, width, height = placed(untangled(rows, ways), widths, tall=_BOX_HEIGHT + _ROOM)
    boxes = [
        Box(datasets[name], left, middle - _BOX_HEIGHT / 2, widths[name], _BOX_HEIGHT)
        for name, (left, _, middle) in place.items()
        if name in datasets
    ]
    ends = {box.dataset.name: (box.x, box.x + box.width, box.y + _BOX_HEIGHT / 2) for box in boxes}
    arrows = [
        Arrow(_draw_way([ends.get(stop, place[stop]) for stop in way]), bool(datasets[way[-1]].auto_cdc))
        for way in ways
    ]
    return Drawing(boxes, arrows, width, height, _describe(datasets))


def _box_width(name: str) -> float:
    return max(_NARROWEST, min(len(short_name(name)), _LONGEST) * _LETTER + 34)


def _draw_way(
    stops: list[tuple[Any, ...]],  # Left edge, right edge and middle of each box and waypoint on its way
) -> str:
    "Lead a line from box to box: it bends between two layers, and is straight within one."
    _, right, y = stops[0]
    path = f"M{right:.1f} {y:.1f}"
    for left, after, middle in stops[1:]:
        bend = min(right + GAP, left)
        half = (right + bend) / 2
        path += f" C{half:.1f} {y:.1f} {half:.1f} {middle:.1f} {bend:.1f} {middle:.1f} H{left:.1f}"
        if after != stops[-1][1]:
            path += f" H{after:.1f}"
        right, y = after, middle
    return path


def _describe(datasets: Mapping[str, DatasetSummary]) -> str:
    "Say what the drawing shows."

    def describe(dataset: DatasetSummary) -> str:
        read = ", ".join(short_name(name) for name in sorted(dataset.inputs))
        return f"{short_name(dataset.name)} ({dataset.words})" + (f" reads {read}" if read else "")

    return f"Flow graph: {'; '.join(map(describe, datasets.values()))}."
