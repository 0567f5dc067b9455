"""From what is there to what shall be, without touching what is not ours."""

from hypothesis import given
from hypothesis import strategies as st

from trainer.prepare.apply import compare

names = st.sampled_from(["train/a", "train/b", "val/a", "val/b", "test/c"])
contents = st.sampled_from(["1", "2", "3"])
trees = st.dictionaries(names, contents)


def owner(*trees: dict[str, str]) -> dict[str, frozenset[str]]:
    return {path: frozenset(t[path] for t in trees if path in t) for t in trees for path in t}


@given(trees, trees)
def test_the_changes_lead_from_one_to_the_other(wanted: dict[str, str], present: dict[str, str]) -> None:
    changes = compare(wanted, present, owner(present))
    after = dict(present)
    for path in (*changes.removed, *changes.moved.values()):
        after.pop(path)
    for path in (*changes.added, *changes.moved, *changes.replaced):
        after[path] = wanted[path]
    assert after == wanted
    assert all(present[old] == wanted[new] for new, old in changes.moved.items())
    assert not set(changes.kept) & {*changes.added, *changes.moved, *changes.replaced, *changes.removed}
    assert changes.left == ()
    assert changes.none == (wanted == present)


@given(trees, trees, trees)
def test_what_somebody_changed_is_not_removed(
    wanted: dict[str, str], present: dict[str, str], written: dict[str, str]
) -> None:
    changes = compare(wanted, present, owner(written))
    for path in changes.removed:
        assert written[path] == present[path]
    for path in changes.left:
        assert written.get(path) != present[path]
        assert path not in wanted
