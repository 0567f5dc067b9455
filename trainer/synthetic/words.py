"""Vocabulary: made-up brands, what is sold, in which flavors, packages and sizes.

Brands are strung together from syllables and name nobody; items and flavors are plain words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.synthetic.chance import Color


@dataclass(frozen=True, slots=True)
class Shelf:
    """One category of packaged goods.

    Attributes:
        category: its name in the shop.
        items: what the package says it is.
        flavors: keys of `FLAVORS` that make variants.
        kinds: package shapes it comes in.
        sizes: what the size text may say.
        price: lowest and highest price.
    """

    category: str
    items: tuple[str, ...]
    flavors: tuple[str, ...]
    kinds: tuple[str, ...]
    sizes: tuple[str, ...]
    price: tuple[float, float]


FLAVORS: dict[str, tuple[Color, str]] = {
    "Natural": ((60, 120, 190), "drop"),
    "Original": ((200, 40, 45), "star"),
    "Low Fat 0.5%": ((235, 190, 60), "drop"),
    "Medium 1.5%": ((30, 140, 70), "drop"),
    "Standard 3%": ((30, 60, 165), "drop"),
    "Light 0.1%": ((225, 120, 170), "drop"),
    "Lactose Free": ((60, 175, 215), "leaf"),
    "Organic": ((110, 170, 60), "leaf"),
    "Vanilla": ((240, 205, 110), "flower"),
    "Strawberry": ((222, 40, 62), "berry"),
    "Raspberry": ((205, 30, 95), "cluster"),
    "Blueberry": ((70, 60, 150), "cluster"),
    "Cherry": ((165, 15, 45), "cherry"),
    "Peach": ((250, 160, 95), "round"),
    "Mango": ((252, 165, 40), "round"),
    "Apple": ((115, 180, 60), "round"),
    "Pear": ((180, 195, 80), "pear"),
    "Orange": ((250, 140, 25), "citrus"),
    "Lemon": ((250, 218, 60), "citrus"),
    "Lime": ((140, 200, 50), "citrus"),
    "Red Grapefruit": ((235, 85, 75), "citrus"),
    "Grape": ((110, 45, 120), "cluster"),
    "Coconut": ((238, 234, 220), "nut"),
    "Chocolate": ((95, 55, 35), "cookie"),
    "Caramel": ((196, 128, 52), "cookie"),
    "Hazelnut": ((150, 100, 60), "nut"),
    "Almond": ((205, 165, 115), "nut"),
    "Honey": ((238, 170, 40), "bee"),
    "Oat": ((218, 190, 140), "grain"),
    "Wholegrain": ((170, 120, 60), "grain"),
    "Rye": ((120, 80, 50), "grain"),
    "Sea Salt": ((70, 150, 205), "wave"),
    "Paprika": ((205, 60, 30), "pepper"),
    "Chili": ((190, 20, 25), "pepper"),
    "Sour Cream": ((90, 165, 90), "bowl"),
    "Onion": ((160, 190, 90), "bowl"),
    "Tomato": ((214, 45, 35), "round"),
    "Basil": ((50, 135, 60), "leaf"),
    "Garlic": ((225, 215, 195), "flower"),
    "Mint": ((70, 190, 160), "leaf"),
    "Lavender": ((150, 120, 200), "flower"),
    "Ocean": ((40, 120, 200), "wave"),
    "Mild": ((240, 200, 90), "bean"),
    "Medium Roast": ((180, 90, 40), "bean"),
    "Dark Roast": ((85, 45, 35), "bean"),
    "Espresso": ((50, 35, 35), "cup"),
    "Decaf": ((70, 120, 190), "cup"),
    "Earl Grey": ((80, 110, 170), "cup"),
    "Green Tea": ((120, 175, 80), "leaf"),
    "Chamomile": ((245, 215, 120), "flower"),
    "Chicken": ((235, 185, 80), "bowl"),
    "Beef": ((150, 50, 40), "bowl"),
    "Tuna": ((50, 110, 170), "fish"),
    "Salmon": ((245, 140, 110), "fish"),
    "Sardine": ((90, 120, 150), "fish"),
    "Vegetable": ((100, 160, 60), "leaf"),
    "Mushroom": ((170, 140, 110), "bowl"),
    "Kidney": ((140, 40, 40), "bean"),
    "White Bean": ((225, 215, 190), "bean"),
    "Chickpea": ((225, 190, 120), "bean"),
    "Sweet Corn": ((250, 205, 60), "grain"),
}

_MILKS = ("Low Fat 0.5%", "Medium 1.5%", "Standard 3%", "Lactose Free", "Organic", "Light 0.1%")
_FRUITS = ("Strawberry", "Raspberry", "Blueberry", "Cherry", "Peach", "Mango", "Pear", "Vanilla", "Coconut", "Natural")
_JUICES = ("Apple", "Orange", "Red Grapefruit", "Mango", "Pear", "Grape", "Lemon", "Cherry")
_TEAS = ("Earl Grey", "Green Tea", "Chamomile", "Mint", "Lemon")

SHELVES: tuple[Shelf, ...] = (
    Shelf(
        "Milk",
        ("Milk", "Fresh Milk", "Farm Milk"),
        _MILKS,
        ("gable", "brick", "bottle"),
        ("1 L", "1.5 L", "0.5 L"),
        (9, 24),
    ),
    Shelf(
        "Yoghurt",
        ("Yoghurt", "Greek Yoghurt", "Skyr"),
        _FRUITS,
        ("tub", "gable", "brick", "cup"),
        ("1000 g", "500 g", "150 g"),
        (7, 35),
    ),
    Shelf(
        "Sour cream",
        ("Sour Cream", "Cream", "Cultured Milk"),
        ("Natural", "Low Fat 0.5%", "Lactose Free", "Organic"),
        ("tub", "brick", "gable"),
        ("3 dl", "5 dl", "1 L"),
        (9, 28),
    ),
    Shelf(
        "Plant drinks",
        ("Oat Drink", "Soy Drink", "Almond Drink"),
        ("Original", "Natural", "Vanilla", "Chocolate", "Organic", "Coconut"),
        ("gable", "brick"),
        ("1 L", "0.5 L"),
        (15, 32),
    ),
    Shelf(
        "Juice",
        ("Juice", "Pressed Juice", "Nectar", "Smoothie"),
        _JUICES,
        ("gable", "brick", "bottle"),
        ("1 L", "1.75 L", "85 cl", "33 cl"),
        (14, 42),
    ),
    Shelf(
        "Soft drinks",
        ("Soda", "Lemonade", "Sparkling Water"),
        ("Original", "Lemon", "Lime", "Orange", "Cherry", "Grape", "Raspberry"),
        ("can", "bottle"),
        ("33 cl", "50 cl", "1.5 L"),
        (8, 25),
    ),
    Shelf(
        "Cereal",
        ("Flakes", "Muesli", "Granola", "Crunch", "Porridge"),
        ("Honey", "Chocolate", "Wholegrain", "Oat", "Raspberry", "Hazelnut", "Apple"),
        ("box", "pouch"),
        ("375 g", "500 g", "750 g"),
        (22, 60),
    ),
    Shelf(
        "Biscuits",
        ("Biscuits", "Cookies", "Wafers", "Crackers"),
        ("Chocolate", "Vanilla", "Hazelnut", "Caramel", "Lemon", "Wholegrain", "Sea Salt"),
        ("box", "slab", "pouch"),
        ("200 g", "175 g", "300 g"),
        (12, 38),
    ),
    Shelf(
        "Chocolate",
        ("Chocolate", "Truffles", "Pralines"),
        ("Original", "Hazelnut", "Caramel", "Sea Salt", "Orange", "Mint", "Raspberry", "Almond"),
        ("slab", "box", "pouch"),
        ("100 g", "200 g"),
        (14, 55),
    ),
    Shelf(
        "Snacks",
        ("Chips", "Crisps", "Popcorn", "Puffs", "Nuts"),
        ("Sea Salt", "Paprika", "Sour Cream", "Chili", "Onion", "Honey"),
        ("pouch", "tube"),
        ("175 g", "275 g", "90 g"),
        (12, 40),
    ),
    Shelf(
        "Coffee",
        ("Coffee", "Ground Coffee", "Whole Beans"),
        ("Mild", "Medium Roast", "Dark Roast", "Espresso", "Decaf"),
        ("pouch", "slab", "jar", "can"),
        ("450 g", "500 g", "250 g"),
        (35, 95),
    ),
    Shelf("Tea", ("Tea", "Infusion"), _TEAS, ("slab", "box"), ("20 bags", "50 bags", "40 g"), (18, 48)),
    Shelf(
        "Pasta",
        ("Spaghetti", "Penne", "Fusilli", "Noodles"),
        ("Original", "Wholegrain", "Organic", "Vegetable"),
        ("box", "pouch"),
        ("500 g", "1 kg"),
        (10, 34),
    ),
    Shelf(
        "Sauces",
        ("Pasta Sauce", "Salsa", "Pesto", "Curry"),
        ("Tomato", "Basil", "Garlic", "Chili", "Mushroom"),
        ("jar", "bottle"),
        ("400 g", "190 g", "350 g"),
        (15, 49),
    ),
    Shelf(
        "Spreads",
        ("Jam", "Marmalade", "Spread", "Honey"),
        ("Strawberry", "Raspberry", "Orange", "Blueberry", "Hazelnut", "Honey", "Peach"),
        ("jar", "tub"),
        ("340 g", "400 g"),
        (18, 58),
    ),
    Shelf(
        "Canned food",
        ("Beans", "Soup", "Tuna", "Corn", "Stew"),
        ("Kidney", "White Bean", "Chickpea", "Tomato", "Chicken", "Vegetable", "Sweet Corn", "Tuna", "Sardine"),
        ("can", "tin"),
        ("400 g", "185 g", "800 g"),
        (8, 35),
    ),
    Shelf(
        "Ready meals",
        ("Soup", "Noodles", "Stew", "Curry"),
        ("Chicken", "Beef", "Vegetable", "Mushroom", "Tomato", "Chili"),
        ("tray", "cup", "box", "pouch"),
        ("350 g", "400 g", "65 g"),
        (22, 69),
    ),
    Shelf(
        "Cold cuts",
        ("Ham", "Cheese", "Salami", "Smoked Fish"),
        ("Original", "Garlic", "Honey", "Chili", "Salmon", "Light 0.1%"),
        ("tray", "slab"),
        ("120 g", "150 g", "300 g"),
        (22, 75),
    ),
    Shelf(
        "Butter",
        ("Butter", "Margarine", "Cream Cheese"),
        ("Original", "Sea Salt", "Lactose Free", "Garlic", "Light 0.1%"),
        ("tub", "slab"),
        ("250 g", "400 g", "500 g"),
        (18, 62),
    ),
    Shelf(
        "Household",
        ("Dish Soap", "Laundry", "Soft Rinse", "Cleaner"),
        ("Lemon", "Lavender", "Ocean", "Mint", "Apple"),
        ("bottle", "pouch", "box"),
        ("500 ml", "750 ml", "1.2 kg"),
        (18, 79),
    ),
    Shelf(
        "Care",
        ("Shampoo", "Shower Gel", "Lotion", "Soap"),
        ("Lavender", "Ocean", "Mint", "Coconut", "Honey", "Almond"),
        ("bottle", "tub", "slab"),
        ("250 ml", "300 ml", "400 ml"),
        (19, 89),
    ),
)

CLAIMS = (
    "Since 1924",
    "No added sugar",
    "100% natural",
    "New!",
    "Family pack",
    "Rich in fiber",
    "High protein",
    "From the farm",
    "Extra fresh",
    "Slow made",
    "Great taste",
    "Recyclable",
    "Best served cold",
    "Source of calcium",
    "Gluten free",
    "Vegan",
    "Small batch",
    "With vitamin D",
    "Sun ripened",
    "Shake well",
)

FINE_PRINT = [
    "ingredients",
    "water",
    "sugar",
    "milk",
    "cream",
    "wheat",
    "starch",
    "salt",
    "cocoa",
    "palm",
    "oil",
    "emulsifier",
    "lecithin",
    "natural",
    "aroma",
    "citric",
    "acid",
    "vitamin",
    "may",
    "contain",
    "traces",
    "of",
    "nuts",
    "store",
    "in",
    "a",
    "cool",
    "dry",
    "place",
    "best",
    "before",
    "see",
    "top",
    "energy",
    "fat",
    "of",
    "which",
    "saturates",
    "carbohydrate",
    "sugars",
    "protein",
    "per",
    "serving",
    "keep",
    "refrigerated",
    "after",
    "opening",
    "use",
    "within",
    "five",
    "days",
]

_ONSETS = (
    "b",
    "br",
    "c",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "st",
    "t",
    "v",
    "z",
    "w",
    "bl",
    "tr",
)
_VOWELS = ("a", "e", "i", "o", "u", "oo", "ai", "ie", "y")
_CODAS = ("", "", "", "l", "n", "r", "s", "m", "nd", "lla", "rk", "x", "ska", "vi", "ro", "na", "to", "li")
_TAILS = ("", "", "", "", " & Co", " Dairy", " Farm", " Foods", "s", " Hill")


def brand_name(rng: np.random.Generator) -> str:
    """A brand nobody has, two or three syllables, sometimes with a tail."""
    syllables = 2 if rng.random() < 0.75 else 3
    name = "".join(_pick(rng, _ONSETS) + _pick(rng, _VOWELS[: 5 if i else 9]) for i in range(syllables))
    return (name + _pick(rng, _CODAS)).capitalize() + _pick(rng, _TAILS)


def cultivar_name(rng: np.random.Generator) -> str:
    """A made-up cultivar of a fruit or vegetable."""
    first = (_pick(rng, _ONSETS) + _pick(rng, _VOWELS) + _pick(rng, _CODAS)).capitalize()
    second = ("Red", "Gold", "Sweet", "Early", "Royal", "Winter", "Crisp", "Beauty", "Star", "Sun", "Blush", "Dew")
    return f"{first} {_pick(rng, second)}"


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
