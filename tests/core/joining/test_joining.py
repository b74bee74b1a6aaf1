"""Joining without guessing: groups are a function of the sets of edges and conflicts."""

from hypothesis import given
from hypothesis import strategies as st

from core.joining import join

SIZE = 8
PAIRS = st.frozensets(
    st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)).filter(lambda pair: pair[0] != pair[1]), max_size=14
)


def _grouped(edges: frozenset[tuple[int, int]], conflicts: frozenset[tuple[int, int]]) -> set[frozenset[int]]:
    groups, _ = join(SIZE, edges, lambda a, b: (a, b) in conflicts or (b, a) in conflicts)
    return {frozenset(group) for group in groups}


def test_a_chain_without_conflict_is_one_group() -> None:
    groups, refused = join(4, [(0, 1), (1, 2)], lambda a, b: False)
    assert groups == [[0, 1, 2], [3]]
    assert refused == []


def test_what_fits_two_that_conflict_belongs_to_neither() -> None:
    groups, refused = join(3, [(0, 1), (1, 2)], lambda a, b: {a, b} == {0, 2})
    assert groups == [[0], [1], [2]]
    assert refused == [(0, 1), (1, 2)]


def test_those_with_the_same_conflicts_stay_together() -> None:
    # 0 and 1 both conflict with 3; 2 fits everyone
    groups, refused = join(4, [(0, 1), (0, 2), (1, 2), (2, 3)], lambda a, b: (min(a, b), max(a, b)) in {(0, 3), (1, 3)})
    assert groups == [[0, 1], [2], [3]]
    assert refused == [(0, 2), (1, 2), (2, 3)]


@given(PAIRS, PAIRS)
def test_no_group_holds_a_conflict_and_every_node_is_in_one(
    edges: frozenset[tuple[int, int]], conflicts: frozenset[tuple[int, int]]
) -> None:
    groups = _grouped(edges, conflicts)
    assert sorted(node for group in groups for node in group) == list(range(SIZE))
    assert not any(a in group and b in group for group in groups for a, b in conflicts)


@given(PAIRS, PAIRS, st.permutations(range(SIZE)))
def test_names_of_nodes_do_not_matter(
    edges: frozenset[tuple[int, int]], conflicts: frozenset[tuple[int, int]], names: list[int]
) -> None:
    def rename(pairs: frozenset[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        return frozenset((names[a], names[b]) for a, b in pairs)

    renamed = _grouped(rename(edges), rename(conflicts))
    assert renamed == {frozenset(names[node] for node in group) for group in _grouped(edges, conflicts)}


@given(PAIRS)
def test_without_conflicts_every_edge_is_followed(edges: frozenset[tuple[int, int]]) -> None:
    groups = _grouped(edges, frozenset())
    for a, b in edges:
        assert any(a in group and b in group for group in groups)
