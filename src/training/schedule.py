"""How the learning rate falls: a function of the epochs done and the validation errors so far."""

from collections.abc import Sequence
from typing import Literal

Name = Literal["constant", "steps", "plateau"]
NAMES: tuple[Name, ...] = ("constant", "steps", "plateau")


def rate_factor(
    epochs: float,
    validation_errors: Sequence[float],
    *,
    name: Name,
    factor: float,
    boundaries: Sequence[float | int],
    patience: int,
    drops: int,
) -> float:
    """What the learning rate is multiplied by from here on.

    Args:
        epochs: Done so far.
        validation_errors: One per epoch that is over, oldest first.
        name: "constant"; "steps", by the clock; "plateau", by the validation error.
        factor: Of each drop; the paper divides by ten.
        boundaries: In epochs, where "steps" drops.
        patience: Epochs without a new best error after which "plateau" drops.
        drops: How often "plateau" drops at most; three times in the paper.
    """
    if name == "steps":
        return factor ** sum(epochs >= boundary for boundary in boundaries)
    if name == "plateau":
        return factor ** min(drops, plateaus(validation_errors, patience))
    return 1.0


def plateaus(validation_errors: Sequence[float], patience: int) -> int:
    """How often `patience` epochs in a row brought no error below the best before them.

    After each, the count begins again; the best error stays.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 5: "divide the learning rate by 10 when
    the validation error rate stopped improving with the current learning rate", judged by eye.
    """
    best, waited, found = float("inf"), 0, 0
    for error in validation_errors:
        waited = 0 if error < best else waited + 1
        best = min(best, error)
        if waited == patience:
            found, waited = found + 1, 0
    return found
