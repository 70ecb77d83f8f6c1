"""Student's t, the normal and the binomial distribution, as far as the intervals need them.

All come from `scipy.special`, imported where it is used. `scipy.stats` gives the same numbers, but
takes half a second to import, and every process of a study would wait for it.
"""

import numpy as np

Numbers = float | np.ndarray


def t_quantile(p: Numbers, freedom: Numbers) -> np.ndarray:
    """The number that Student's t stays below with probability `p`."""
    from scipy import special  # noqa: PLC0415  (see above)

    return np.asarray(special.stdtrit(freedom, p))


def t_tail(t: Numbers, freedom: Numbers) -> np.ndarray:
    """Probability that Student's t is above `t`."""
    from scipy import special  # noqa: PLC0415

    return np.asarray(special.stdtr(freedom, np.negative(t)))


def normal_quantile(p: Numbers) -> np.ndarray:
    """The number that a standard normal stays below with probability `p`."""
    from scipy import special  # noqa: PLC0415

    return np.asarray(special.ndtri(p))


def normal_log_cdf(z: Numbers) -> np.ndarray:
    """Logarithm of the probability that a standard normal stays below `z`."""
    from scipy import special  # noqa: PLC0415

    return np.asarray(special.log_ndtr(z))


def binomial_tail(successes: int, trials: int) -> float:
    """Probability that at most `successes` of `trials` fair coins show heads."""
    from scipy import special  # noqa: PLC0415

    return float(special.bdtr(successes, trials, 0.5))
