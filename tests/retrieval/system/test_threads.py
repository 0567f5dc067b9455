import threading
import time

import pytest

from retrieval.system.threads import ordered_map


def test_results_come_in_order_from_several_threads() -> None:
    seen: set[str] = set()

    def work(n: int) -> int:
        seen.add(threading.current_thread().name)
        time.sleep(0.002 * (n % 3))
        return n * n

    assert list(ordered_map(work, range(100), 4)) == [n * n for n in range(100)]
    assert len(seen) > 1
    assert list(ordered_map(work, [], 4)) == []


def test_only_so_many_items_are_under_way() -> None:
    taken = 0

    def items():  # type: ignore[no-untyped-def]
        nonlocal taken
        for n in range(1000):
            taken += 1
            yield n

    results = ordered_map(lambda n: n, items(), 2, ahead=3)
    assert next(results) == 0
    assert taken == 6
    results.close()
    assert taken == 6


def test_an_error_reaches_the_caller_and_ends_the_work() -> None:
    done: list[int] = []

    def work(n: int) -> int:
        if n == 5:
            raise ValueError("five")
        done.append(n)
        return n

    with pytest.raises(ValueError, match="five"):
        list(ordered_map(work, range(10_000), 2))
    assert len(done) < 100
