"""How wide a text is, from a table of our own, so that a drawing is the same on every machine.

The widths are those of DejaVu Sans, the widest of the typefaces in `FONTS`; in any other of them a text is narrower
than its place.
"""

import math

FONTS = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
BOLD = 1.15  # a bold letter / a regular one, rounded up
# Thousandths of the size of the type, and the characters that are as wide.
WIDTHS = {
    275: "'", 278: "ijl", 295: "IJ", 318: " ,.·\u00a0", 337: "/:;\\|", 352: "f", 361: "-", 390: "()[]⌊⌋", 392: "t",
    401: "!²³", 411: "r", 460: '"', 500: "*_`–°", 521: "s", 525: "z", 531: "?", 550: "c", 557: "L", 575: "F", 579: "k",
    592: "vxyŷ", 603: "P", 611: "TY", 612: "o", 613: "a", 615: "e", 632: "E", 634: "hnu", 635: "Sbdgpq",
    636: "$0123456789{}", 656: "K", 674: "∑", 684: "AV", 685: "XZ", 686: "B", 695: "R", 698: "C", 732: "U", 748: "N",
    752: "H", 770: "D", 775: "G", 780: "&", 787: "OQ", 818: "w", 838: "#+<=>^~×→←↑↓−≥≤≈≠±✓", 863: "M", 950: "%",
    969: "½", 974: "m", 989: "W",
}  # fmt: skip
WIDEST = 1000
_WIDTH_OF = {character: width for width, characters in WIDTHS.items() for character in characters}


def text_width(text: str, size: int, *, bold: bool = False) -> int:
    """The width in pixels that a line of text needs at most; `size` is that of the type in pixels."""
    units = sum(_WIDTH_OF.get(character, WIDEST) for character in text)
    return math.ceil(units * size * (BOLD if bold else 1) / 1000)


def fitted(text: str, width: int, size: int, *, bold: bool = False) -> str:
    """The text, shortened with an ellipsis where it is wider than `width` pixels."""
    if text_width(text, size, bold=bold) <= width:
        return text
    while text and text_width(text + "…", size, bold=bold) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def wrapped(text: str, width: int, size: int) -> list[str]:
    """The text in lines, broken between words; a word that is wider than `width` pixels has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
