"""How the learning rate falls: a function of the epochs done and the validation errors so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from src.fields import Above, AtLeast, NamedNumbers, OneOf, Rule

EPOCHS = Above(0, "a tuple of epochs above 0", most=10**5)
MOMENT = Above(0, "an epoch above 0", most=10**5)


@dataclass(frozen=True)
class Schedule:
    """How the learning rate falls during a trial."""

    name: Annotated[
        str,
        OneOf("constant", "steps", "plateau"),
        "when the rate falls: never; at epochs known before; when validation stops improving",
    ] = "constant"
    factor: Annotated[
        float,
        Rule(lambda x: 0 < x <= 1, "above 0, at most 1"),
        "what each drop multiplies the rate by",
    ] = 0.1
    boundaries: Annotated[
        tuple[float, ...], EPOCHS, "steps: the epochs at which the rate drops"
    ] = ()
    bias_boundaries: Annotated[
        tuple[float, ...], EPOCHS, "steps: those of biases; empty: the same as of weights"
    ] = ()
    slowed: Annotated[
        NamedNumbers, MOMENT, "layer -> epoch from which its rate is lower by one more drop"
    ] = field(default_factory=NamedNumbers)
    frozen: Annotated[NamedNumbers, MOMENT, "layer -> epoch from which it stays as it is"] = field(
        default_factory=NamedNumbers
    )
    patience: Annotated[
        int, AtLeast(1, "at least 1 epoch"), "plateau: epochs without a new best validation error"
    ] = 5
    drops: Annotated[int, AtLeast(0), "plateau: drops at most, 3 in the paper"] = 3

    @property
    def known_drops(self) -> tuple[float, ...]:
        """The epochs at which the rate of all drops, where they are known before."""
        return self.boundaries if self.name == "steps" else ()

    def factor_after(self, boundaries: int, validation_errors: Sequence[float]) -> float:
        """What the learning rate is multiplied by from here on.

        Args:
            boundaries: Number of `boundaries` that have been passed.
            validation_errors: Fractions, one per epoch that is over, oldest first.
        """
        drops = {
            "constant": 0,
            "steps": boundaries,
            "plateau": min(self.drops, plateaus(validation_errors, self.patience)),
        }
        return float(self.factor ** drops[self.name])


def plateaus(validation_errors: Sequence[float], patience: int) -> int:
    """How often `patience` epochs in a row have brought no new best error.

    Each time the count begins again, but the best error stays.

    Args:
        validation_errors: Fractions, one per epoch that is over, oldest first.
        patience: Number of epochs.

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
