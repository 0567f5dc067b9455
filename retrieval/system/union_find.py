"""Pure: what is connected with what."""

from __future__ import annotations


class Sets:
    """Which of n things are connected."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def root(self, i: int) -> int:
        """The least number connected with i."""
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Connect two."""
        a, b = sorted((self.root(i), self.root(j)))
        self._parent[b] = a

    def members(self) -> dict[int, list[int]]:
        """Those with company, by their root."""
        found: dict[int, list[int]] = {}
        for i in range(len(self._parent)):
            found.setdefault(self.root(i), []).append(i)
        return {root: members for root, members in found.items() if len(members) > 1}
