"""The words of the demo shop: hobbies, kinds of goods, styles and brands, and the texts of an item.

The kind of an item says what the item is; customers who have it look at certain other kinds next. The style of an item
says which customers like it. Every title, description and review contains words of the item's kind and style, so that
texts say something about customers' tastes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of goods, such as tripods."""

    noun: str
    hobby: str
    next_kinds: tuple[str, str]  # nouns of the kinds that customers look at next, the most likely first
    purpose: str
    features: tuple[str, str]


@dataclass(frozen=True)
class Style:
    """A taste of customers, with the brands that suit it."""

    adjectives: tuple[str, str, str, str]
    materials: tuple[str, str, str, str]
    brands: tuple[str, str, str, str]
    promise: str
    praise: str


KINDS = (
    Kind(
        "mirrorless camera",
        "photography",
        ("prime lens", "camera bag"),
        "portraits and street scenes",
        ("quiet shutter", "bright viewfinder"),
    ),
    Kind(
        "prime lens",
        "photography",
        ("tripod", "camera bag"),
        "low light and soft backgrounds",
        ("wide aperture", "smooth focus ring"),
    ),
    Kind(
        "tripod",
        "photography",
        ("camera bag", "head lamp"),
        "long exposures at dusk",
        ("quick release plate", "legs that lock with one twist"),
    ),
    Kind(
        "camera bag",
        "photography",
        ("photo printer", "hiking boot"),
        "carrying a body and two lenses",
        ("padded dividers", "rain cover in the base"),
    ),
    Kind(
        "photo printer",
        "photography",
        ("picture frame", "notebook"),
        "prints for the wall",
        ("pigment inks", "paper feed for heavy stock"),
    ),
    Kind(
        "picture frame",
        "photography",
        ("desk lamp", "mirrorless camera"),
        "showing prints at home",
        ("glass without glare", "mount cut to measure"),
    ),
    Kind(
        "desk lamp",
        "writing",
        ("notebook", "studio headset"),
        "evenings at the desk",
        ("warm dimmable light", "arm that stays where it is put"),
    ),
    Kind(
        "notebook",
        "writing",
        ("fountain pen", "coffee blend"),
        "sketches and daily notes",
        ("paper that takes ink well", "binding that lies flat"),
    ),
    Kind(
        "fountain pen",
        "writing",
        ("ink bottle", "notebook"),
        "letters and long drafts",
        ("springy nib", "converter for bottled ink"),
    ),
    Kind(
        "ink bottle",
        "writing",
        ("desk lamp", "coffee mug"),
        "refilling a fountain pen",
        ("ink that dries fast", "colour that keeps for years"),
    ),
    Kind(
        "coffee grinder",
        "coffee",
        ("pour over dripper", "coffee blend"),
        "fresh grounds every morning",
        ("even conical burrs", "forty grind steps"),
    ),
    Kind(
        "pour over dripper",
        "coffee",
        ("kettle", "coffee mug"),
        "one clear cup at a time",
        ("spiral ribs", "filter that seals at the rim"),
    ),
    Kind(
        "kettle",
        "coffee",
        ("coffee blend", "camp stove"),
        "a slow and steady pour",
        ("gooseneck spout", "thermometer in the lid"),
    ),
    Kind(
        "coffee blend",
        "coffee",
        ("coffee grinder", "coffee mug"),
        "breakfast and long afternoons",
        ("notes of cocoa and cherry", "roast date on the bag"),
    ),
    Kind(
        "coffee mug",
        "coffee",
        ("coffee grinder", "kettle"),
        "coffee at the desk or by the fire",
        ("thick handle", "lid that keeps heat in"),
    ),
    Kind(
        "hiking boot",
        "hiking",
        ("trekking tent", "pannier"),
        "rocky trails and wet meadows",
        ("deep lug sole", "ankle support that gives"),
    ),
    Kind(
        "trekking tent",
        "hiking",
        ("sleeping bag", "head lamp"),
        "nights above the tree line",
        ("poles with colour marks", "porch for wet boots"),
    ),
    Kind(
        "sleeping bag",
        "hiking",
        ("camp stove", "trekking tent"),
        "frosty nights outdoors",
        ("draft collar", "zip that does not catch"),
    ),
    Kind(
        "head lamp",
        "hiking",
        ("camp stove", "bike light"),
        "finding the path after dark",
        ("red night mode", "battery for three nights"),
    ),
    Kind(
        "camp stove",
        "hiking",
        ("coffee mug", "sleeping bag"),
        "hot meals far from a road",
        ("burner that shrugs off wind", "folding pot supports"),
    ),
    Kind(
        "bike light",
        "cycling",
        ("pannier", "tyre kit"),
        "riding home in the rain",
        ("beam with a sharp edge", "mount without tools"),
    ),
    Kind(
        "pannier", "cycling", ("tyre kit", "tripod"), "luggage on two wheels", ("roll top", "hooks that click in place")
    ),
    Kind(
        "tyre kit",
        "cycling",
        ("bike light", "hiking boot"),
        "a puncture far from home",
        ("levers that grip", "patches in four sizes"),
    ),
    Kind(
        "studio headset",
        "music",
        ("acoustic guitar", "desk lamp"),
        "listening without the room",
        ("cushions that breathe", "cable that can be replaced"),
    ),
    Kind(
        "acoustic guitar",
        "music",
        ("guitar string set", "guitar capo"),
        "songs in the living room",
        ("even tone along the neck", "low comfortable action"),
    ),
    Kind(
        "guitar string set",
        "music",
        ("guitar capo", "guitar amplifier"),
        "a bright sound after a change",
        ("coating that lasts", "steady tension"),
    ),
    Kind(
        "guitar capo",
        "music",
        ("guitar amplifier", "guitar string set"),
        "changing key in a second",
        ("spring with even pressure", "pad that leaves no mark"),
    ),
    Kind(
        "guitar amplifier",
        "music",
        ("studio headset", "acoustic guitar"),
        "small stages and practice rooms",
        ("clean channel with reverb", "jack for a headset"),
    ),
)

STYLES = (
    Style(
        ("vintage", "retro", "antique", "timeless"),
        ("brass and walnut", "waxed leather", "aged copper", "oiled oak"),
        ("Harrow & Finch", "Old Mill", "Castellan", "Briarwood"),
        "Made the way it was made in 1962, with patina to come",
        "reminds me of the one my grandfather had",
    ),
    Style(
        ("ultralight", "feather weight", "compact", "packable"),
        ("titanium", "carbon fibre", "ripstop nylon", "magnesium"),
        ("Northfell", "Gramless", "Skylark", "Zephyr"),
        "Every gram was weighed twice, so that it disappears in a bag",
        "weighs next to nothing and packs small",
    ),
    Style(
        ("rugged", "shockproof", "heavy duty", "waterproof"),
        ("ballistic cordura", "forged steel", "rubber armour", "anodised aluminium"),
        ("Ironroot", "Basecamp", "Torvald", "Granite"),
        "Tested against mud, frost and falls from two metres",
        "survived a fall on rocks without a scratch",
    ),
    Style(
        ("minimal", "sleek", "understated", "monochrome"),
        ("matte glass", "brushed steel", "white ceramic", "smooth birch"),
        ("Nord Form", "Plainly", "Atelier Null", "Kanso"),
        "Nothing to add and nothing to take away, in one calm colour",
        "has clean lines and no logo in sight",
    ),
    Style(
        ("affordable", "starter", "everyday", "practical"),
        ("sturdy plastic", "recycled cotton", "pressed tin", "beech plywood"),
        ("Pennywise", "Hobbyhorse", "First Step", "Goodbasics"),
        "All that a beginner needs, at a price that leaves room for more",
        "is great value for the money as a first one",
    ),
)

SERIES = (
    "Aurora", "Meridian", "Harbour", "Juniper", "Lantern", "Ember", "Fjord", "Tundra", "Canyon", "Willow", "Saffron", "Cobalt",
    "Marlow", "Orbit", "Pioneer", "Quill", "Ridge", "Solstice", "Thistle", "Umber", "Vista", "Wren", "Atlas", "Beacon",
    "Cinder", "Drift", "Echo", "Falcon", "Grove", "Horizon",
)  # fmt: skip

HOBBIES = tuple(dict.fromkeys(kind.hobby for kind in KINDS))
REVIEW_FORMS = 4


@dataclass(frozen=True)
class Wording:
    """The texts of one item."""

    title: str
    description: str
    brand: str
    categories: list[str]
    attributes: dict[str, str]
    reviews: list[str]  # (REVIEW_FORMS,)


def wording(kind_index: int, style_index: int, brand_index: int) -> Wording:
    """Compose the texts of an item from its kind, style and brand."""
    kind, style = KINDS[kind_index], STYLES[style_index]
    brand, material = style.brands[brand_index], style.materials[brand_index]
    adjective = style.adjectives[(brand_index + kind_index) % 4]
    series = SERIES[(style_index * 11 + brand_index * 7 + HOBBIES.index(kind.hobby) * 5) % len(SERIES)]
    first, second = kind.features
    return Wording(
        title=f"{brand} {series} {adjective} {kind.noun}",
        description=f"{adjective.capitalize()} {kind.noun} in {material} for {kind.purpose}. {first.capitalize()}, {second}. {style.promise}.",
        brand=brand,
        categories=[kind.hobby, kind.noun],
        attributes={"material": material, "series": f"{brand} {series}"},
        reviews=[
            f"I wanted {_with_article(adjective)} {kind.noun} for {kind.purpose}, and this one {style.praise}.",
            f"{first.capitalize()}, and it {style.praise}. A good {kind.noun} for {kind.purpose}.",
            f"Looking for {_with_article(kind.noun)} from {brand} with {second}.",
            f"Bought {_with_article(adjective)} {kind.noun} in {material}, with {first}: it {style.praise}.",
        ],
    )


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
