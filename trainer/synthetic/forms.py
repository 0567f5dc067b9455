"""The bodies of loose produce: what grows, how it is shaped, which skins it has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """A body: how wide it is along its axis, how it bends, and what grows on it.

    Attributes:
        aspect: width relative to length.
        taper: how much thinner the lower end is, 0..1; negative thins the upper end.
        waist: pear-like narrowing of the upper half, 0..1.
        power: 2 is an ellipse, more is blockier.
        bend: sideways bow of the axis, relative to the half-length.
        lobes: bulges around the axis.
        lumps: how irregular the outline is.
        skin: the kind of texture.
        stem: share of items whose stem shows.
        gloss: strength of the highlight, 0..1.
    """

    category: str
    aspect: float
    taper: float = 0.0
    waist: float = 0.0
    power: float = 2.0
    bend: float = 0.0
    lobes: int = 0
    lumps: float = 0.03
    skin: str = "blush"
    stem: float = 0.4
    gloss: float = 0.5
    hues: tuple[tuple[float, float, float], ...] = ((0.0, 0.8, 0.8),)


_RED, _GREEN, _YELLOW, _ORANGE = (0.99, 0.85, 0.75), (0.26, 0.75, 0.62), (0.14, 0.8, 0.93), (0.08, 0.9, 0.97)
_BROWN, _PURPLE, _CREAM, _LEAF = (0.09, 0.45, 0.62), (0.88, 0.6, 0.35), (0.12, 0.18, 0.92), (0.3, 0.8, 0.4)

FORMS: tuple[Form, ...] = (
    Form("Apples", 1.05, taper=0.12, hues=(_RED, _GREEN, _YELLOW, (0.96, 0.8, 0.5))),
    Form("Pears", 0.72, waist=0.5, skin="speckle", hues=(_GREEN, (0.18, 0.6, 0.8), _BROWN, _YELLOW)),
    Form("Peaches", 1.02, skin="blush", gloss=0.1, stem=0.1, hues=(_ORANGE, _RED, (0.11, 0.6, 0.95))),
    Form("Plums", 0.9, skin="bloom", gloss=0.3, hues=(_PURPLE, _RED, (0.78, 0.5, 0.35), _YELLOW)),
    Form(
        "Citrus",
        1.0,
        skin="pores",
        gloss=0.35,
        stem=0.2,
        hues=(_ORANGE, _YELLOW, (0.22, 0.85, 0.6), (0.04, 0.75, 0.95)),
    ),
    Form(
        "Lemons",
        0.72,
        taper=0.1,
        skin="pores",
        gloss=0.35,
        stem=0.1,
        hues=(_YELLOW, (0.22, 0.85, 0.55), (0.17, 0.8, 0.85)),
    ),
    Form("Tomatoes", 1.12, lobes=5, skin="plain", gloss=0.9, stem=0.6, hues=(_RED, _ORANGE, _YELLOW, (0.97, 0.6, 0.4))),
    Form(
        "Peppers",
        0.82,
        taper=0.25,
        lobes=3,
        power=3.0,
        skin="plain",
        gloss=1.0,
        stem=0.7,
        hues=(_RED, _GREEN, _YELLOW, _ORANGE),
    ),
    Form("Cucumbers", 0.2, power=3.5, bend=0.06, skin="streaks", gloss=0.4, hues=(_LEAF, _GREEN, (0.2, 0.5, 0.6))),
    Form(
        "Zucchini",
        0.24,
        power=3.5,
        bend=0.05,
        skin="streaks",
        gloss=0.6,
        stem=0.7,
        hues=(_LEAF, _YELLOW, (0.28, 0.5, 0.55)),
    ),
    Form(
        "Aubergines",
        0.42,
        taper=-0.35,
        skin="plain",
        gloss=1.0,
        stem=0.9,
        hues=((0.77, 0.5, 0.16), (0.83, 0.45, 0.4), _CREAM),
    ),
    Form(
        "Bananas",
        0.24,
        power=3.0,
        bend=0.5,
        skin="spots",
        gloss=0.2,
        stem=0.9,
        hues=(_YELLOW, (0.2, 0.65, 0.7), (0.02, 0.7, 0.5)),
    ),
    Form(
        "Carrots",
        0.2,
        taper=0.8,
        power=2.6,
        bend=0.05,
        skin="rings",
        gloss=0.2,
        stem=0.5,
        hues=(_ORANGE, _PURPLE, _YELLOW, _CREAM),
    ),
    Form(
        "Potatoes",
        0.75,
        lumps=0.1,
        skin="earth",
        gloss=0.05,
        stem=0.0,
        hues=(_BROWN, (0.12, 0.45, 0.8), (0.98, 0.45, 0.5)),
    ),
    Form(
        "Sweet potatoes",
        0.45,
        lumps=0.14,
        taper=0.2,
        skin="earth",
        gloss=0.05,
        stem=0.0,
        hues=((0.03, 0.5, 0.65), (0.95, 0.4, 0.45), _CREAM),
    ),
    Form("Ginger", 0.5, lumps=0.35, skin="rings", gloss=0.1, stem=0.0, hues=((0.1, 0.4, 0.78), (0.08, 0.5, 0.65))),
    Form(
        "Beets",
        0.95,
        taper=0.35,
        lumps=0.06,
        skin="earth",
        gloss=0.1,
        stem=0.6,
        hues=((0.94, 0.55, 0.3), _ORANGE, (0.93, 0.5, 0.55)),
    ),
    Form("Onions", 1.0, skin="meridians", gloss=0.5, stem=0.8, hues=((0.09, 0.6, 0.78), (0.9, 0.6, 0.45), _CREAM)),
    Form("Garlic", 1.05, lobes=6, skin="meridians", gloss=0.15, stem=0.9, hues=(_CREAM, (0.85, 0.15, 0.85))),
    Form("Melons", 1.0, skin="net", gloss=0.15, stem=0.3, hues=((0.11, 0.4, 0.75), _YELLOW, (0.2, 0.35, 0.75))),
    Form("Watermelons", 0.85, skin="melon", gloss=0.4, stem=0.2, hues=((0.27, 0.5, 0.6), _LEAF)),
    Form("Kiwis", 0.82, skin="fuzz", gloss=0.0, stem=0.1, hues=((0.1, 0.5, 0.42), (0.11, 0.5, 0.55))),
    Form("Avocados", 0.68, waist=0.3, skin="rough", gloss=0.35, stem=0.2, hues=((0.25, 0.5, 0.25), (0.3, 0.6, 0.38))),
    Form("Mangos", 0.75, taper=0.15, bend=0.08, skin="blush", gloss=0.4, stem=0.1, hues=(_GREEN, _ORANGE, _RED)),
    Form(
        "Cabbages",
        1.0,
        lumps=0.05,
        skin="veins",
        gloss=0.2,
        stem=0.0,
        hues=((0.25, 0.35, 0.8), (0.85, 0.5, 0.45), (0.3, 0.5, 0.5)),
    ),
    Form("Leeks", 0.12, power=4.0, skin="blanched", gloss=0.2, stem=0.0, hues=(_LEAF, (0.32, 0.5, 0.4))),
    Form(
        "Asparagus",
        0.09,
        power=4.0,
        taper=-0.1,
        skin="scales",
        gloss=0.2,
        stem=0.0,
        hues=((0.25, 0.6, 0.5), _CREAM, _PURPLE),
    ),
    Form(
        "Mushrooms",
        1.15,
        taper=-0.2,
        skin="cap",
        gloss=0.1,
        stem=0.6,
        hues=(_CREAM, (0.07, 0.45, 0.55), (0.08, 0.4, 0.4)),
    ),
    Form("Pomegranates", 1.0, lobes=6, skin="blush", gloss=0.3, stem=0.7, hues=(_RED, (0.97, 0.6, 0.6), _YELLOW)),
    Form(
        "Pineapples", 0.68, power=2.6, skin="diamonds", gloss=0.1, stem=1.0, hues=((0.1, 0.7, 0.6), (0.18, 0.6, 0.45))
    ),
)
