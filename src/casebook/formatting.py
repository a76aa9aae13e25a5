"""Numbers as people read them: shares, sizes, counts of operations."""


def percent_text(share: float, digits: int = 1) -> str:
    """0.978 -> "97.8 %" (with a space that does not break); what is not wholly 0 or 1 is never rounded to it."""
    edge = 0.5 * 10.0 ** -(digits + 2)
    if 1 - edge <= share < 1:
        return f"> {100 - 10.0**-digits:.{digits}f}\u00a0%"
    if 0 < share < edge:
        return f"< {10.0**-digits:.{digits}f}\u00a0%"
    return f"{100 * share:.{digits}f}\u00a0%"


def share_text(share: float) -> str:
    """A share that somebody chose, with no more digits than it has: 0.01 -> "1 %", 0.005 -> "0.5 %"."""
    return f"{100 * share:.4g} %"


def short(value: float) -> str:
    """Three significant digits: 0.0123, 1.23, 1e-05."""
    return f"{value:.3g}"


def size_text(size_bytes: float) -> str:
    """In GiB, or in MiB below one."""
    return f"{size_bytes / 2**30:.2f} GiB" if size_bytes >= 2**30 else f"{size_bytes / 2**20:.1f} MiB"


def giga(multiply_adds: int | None) -> str:
    """Such as "3.01 G", and "not counted" for None."""
    if multiply_adds is None:
        return "not counted"
    return f"{multiply_adds / 1e9:.3g} G" if multiply_adds >= 1e9 else f"{multiply_adds / 1e6:.3g} M"


def clock_text(seconds: float) -> str:
    """75 -> "1:15", 3675 -> "1:01:15"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def one_line(text: str) -> str:
    """The text on one line, with control characters, which file names may hold, written as Python writes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
