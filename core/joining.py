"""Joining things that seem to be the same, without guessing: shared by identity (people) and companies.

Pairwise likeness is not transitive: a record without a name is like two records whose names differ. A greedy join would
then depend on the order of reading. Here the answer is a function of the sets alone.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


class Forest:
    """Union-find over the integers below `size`; the root of a tree is its smallest member."""

    __slots__ = ("_parent",)

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, node: int) -> int:
        parent = self._parent
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def union(self, one: int, other: int) -> None:
        low, high = sorted((self.find(one), self.find(other)))
        self._parent[high] = low

    def trees(self) -> list[list[int]]:
        """All trees, each in ascending order, ordered by their smallest member."""
        found: dict[int, list[int]] = {}
        for node in range(len(self._parent)):
            found.setdefault(self.find(node), []).append(node)
        return list(found.values())


def join(
    size: int, edges: Iterable[tuple[int, int]], conflicts: Callable[[int, int], bool]
) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Groups of nodes, and the edges that were not followed.

    Nodes that edges connect form one group, unless some two of them conflict. Then an edge is followed only between nodes
    that conflict with the same members of that component. As no node conflicts with itself, two nodes of one group never
    conflict; and as components and conflicts are sets, neither order nor history matters.

    Args:
        size: nodes are 0 … size - 1.
        edges: pairs that seem to be the same.
        conflicts: symmetric; asked only within a component, once per pair.
    """
    wanted = sorted({(min(a, b), max(a, b)) for a, b in edges if a != b})
    components = Forest(size)
    for a, b in wanted:
        components.union(a, b)
    against: dict[int, frozenset[int]] = {}
    for members in components.trees():
        if len(members) > 1:
            against.update(_conflicting(members, conflicts))
    groups = Forest(size)
    refused: list[tuple[int, int]] = []
    for a, b in wanted:
        if against.get(a) == against.get(b):
            groups.union(a, b)
        else:
            refused.append((a, b))
    return groups.trees(), refused


def _conflicting(members: Sequence[int], conflicts: Callable[[int, int], bool]) -> dict[int, frozenset[int]]:
    against: dict[int, set[int]] = {member: set() for member in members}
    for i, one in enumerate(members):
        for other in members[i + 1 :]:
            if conflicts(one, other):
                against[one].add(other)
                against[other].add(one)
    return {member: frozenset(found) for member, found in against.items()}
