"""Options that several networks have, checked alike."""

from collections.abc import Sequence

LRN_NAMES = ("paper", "caffe", "within", "paper_net", "constant", "none")


def check_choice(name: str, value: object, known: Sequence[object]) -> None:
    """Raises ValueError unless `value` is one of `known`."""
    if value not in known:
        raise ValueError(f"{name} = {value!r} is not one of {', '.join(map(repr, known))}")


def check_dropout(rate: float) -> None:
    """Raises ValueError unless `rate` is a fraction: the share of activities set to zero."""
    if not 0 <= rate < 1:
        raise ValueError(f"dropout = {rate} should be a fraction in [0, 1)")


def scaled(features: int, width: float, multiple: int = 1) -> int:
    """Features in a net `width` times as wide: a multiple of `multiple`, at least one each."""
    return max(1, round(features * width / multiple)) * multiple
