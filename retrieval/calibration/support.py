"""Pure: whether data support a claim about an error rate.

*The rule of 30* (Doddington, Przybocki, Martin, Reynolds 2000): to know an error rate within 30 % of
itself at 90 % confidence, at least 30 errors have to be seen. A target of FAR 0.1 % therefore wants
30,000 different-product pairs. And because products are what intervals resample, at least `LEAST_PRODUCTS`
of them: with fewer, a bootstrap over clusters claims too much (Cameron, Gelbach, Miller 2008).
"""

from __future__ import annotations

import math

LEAST_ERRORS = 30
LEAST_PRODUCTS = 10


def support(rate: str, target: float, trials: int, trial_name: str, products: int, *, seen: float | None = None) -> str:
    """Why data do not support a claim about an error rate; empty when they do.

    Args:
        rate: its name, such as FAR.
        target: the rate to claim.
        trials: how many there are.
        trial_name: what they are, in the plural.
        products: how many distinct products they come from.
        seen: the rate of errors in those trials where the target is extrapolated from it; None where they are the same.
    """
    errors = target if seen is None else seen
    if trials * errors < LEAST_ERRORS:
        need = f"{math.ceil(LEAST_ERRORS / errors):,} needed" if errors > 0.0 else "no number would be enough"
        return (
            f"Not enough data for {rate} {percent(target)}: {trials:,} {trial_name}, {need} (rule of {LEAST_ERRORS})."
        )
    if products < LEAST_PRODUCTS:
        return f"Not enough data for {rate} {percent(target)}: {products} products, at least {LEAST_PRODUCTS} needed."
    return ""


def percent(rate: float) -> str:
    """A target rate as people say it: 0.01 -> ``1 %``."""
    return f"{100.0 * rate:g} %"
