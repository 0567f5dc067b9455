"""AdamW with a learning rate of its own for each part of a network."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras


class LayerwiseAdamW(keras.optimizers.AdamW):  # type: ignore[misc]  # Keras has no types
    """AdamW whose step is smaller for some variables: what was learned before should move less than what is new.

    Adam divides a gradient by its own size, so scaling the gradient would change nothing; the rate has to be scaled.
    """

    def __init__(
        self, learning_rate: Any, *, slow: Collection[str] = (), slowdown: float = 1.0, **options: Any
    ) -> None:
        """Make an optimizer.

        Args:
            learning_rate: or a schedule.
            slow: paths of the variables that move less.
            slowdown: what their rate is multiplied by, in [0, 1].
            options: of `keras.optimizers.AdamW`.
        """
        super().__init__(learning_rate, **options)
        self._slow, self._slowdown = frozenset(slow), slowdown

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One variable's step, as the base class asks for it."""
        # TensorFlow hands its own variable over, which does not know its path in the network.
        path = self._trainable_variables[self._get_variable_index(variable)].path
        factor = self._slowdown if path in self._slow else 1.0
        super().update_step(gradient, variable, learning_rate * factor)
