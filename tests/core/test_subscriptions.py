"""Who is told of a change of state: what a plain list names, at a cost that does not grow with those who wait."""

from __future__ import annotations

import random

import pytest

from colonysim.core.records import Subscription
from colonysim.core.tables import Subscriptions
from tests.steps import steps


@pytest.mark.parametrize("seed", range(20))
def test_subscriptions_take_turns_as_in_a_plain_list(seed: int) -> None:
    """Keys that begin with each other, as the types `t` and `t0`, and streams that go with all they have."""
    chance, table = random.Random(seed), Subscriptions()
    plain: list[Subscription] = []
    of_processes: dict[str, list[Subscription]] = {}
    types = ["t", "t0", "t01", "t-", "u", "", "ä0"]
    for number in range(800):
        drawn = chance.random()
        kind, state = chance.choice(types), chance.choice([0, 1, 2, 10, 11, -1])
        process_id = chance.choice(["p", "q"])
        if drawn < 0.3:
            to = chance.choice(["", "", process_id])
            subscription = Subscription(chance.randrange(12), kind, state, to, number)
            table.add(subscription)
            (of_processes.setdefault(to, []) if to else plain).append(subscription)
        elif drawn < 0.4:
            stream = chance.randrange(12)
            everything = [*plain, *of_processes.get("p", []), *of_processes.get("q", [])]
            gone = [each for each in everything if each.stream == stream]
            assert sorted(each.timer for each in table.forget_stream(stream)) == sorted(each.timer for each in gone)
            plain = [each for each in plain if each.stream != stream]
            of_processes = {
                key: left for key, all_ in of_processes.items() if (left := [s for s in all_ if s.stream != stream])
            }
        elif drawn < 0.9:
            exact, key = chance.random() < 0.5, f"{kind}{state}"
            texts = [f"{each.executor_type}{each.state}" for each in plain]
            places = [place for place, text in enumerate(texts) if (text == key if exact else text.startswith(key))]
            expected = plain.pop(places[0]) if places else None
            if expected is not None:
                plain.append(expected)
            assert table.take_turn(key, exact) is expected
        else:
            expected_ones = [s for s in of_processes.get(process_id, []) if (s.executor_type, s.state) == (kind, state)]
            assert list(table.of_process(process_id, kind, state)) == expected_ones
        assert table.any == bool(plain or of_processes)
        assert table.all() == plain + [each for listed in of_processes.values() for each in listed]


def test_nothing_is_kept_of_streams_that_have_gone() -> None:
    table = Subscriptions()
    for number in range(100):
        table.add(Subscription(number, f"t{number % 7}", 0, "p" if number % 2 else "", 0))
        table.take_turn("t", exact=False)
        table.take_turn(f"t{number % 7}", exact=False)
    for number in range(100):
        assert len(table.forget_stream(number)) == 1
    fresh = vars(Subscriptions())
    assert {name: part for name, part in vars(table).items() if name not in ("_made", "_turns")} == {
        name: part for name, part in fresh.items() if name not in ("_made", "_turns")
    }


@pytest.mark.parametrize("many", ["of other types", "of types that begin so", "of the type", "of the process"])
def test_an_event_among_many_subscriptions_costs_as_much_as_among_a_few(many: str) -> None:
    def cost(count: int) -> int:
        table = Subscriptions()
        for number in range(count):
            kind = f"u{number}" if many == "of other types" else f"t0{number}" if "begin" in many else "t"
            state = number + 1 if many == "of the process" else 0
            table.add(Subscription(number, kind, state, "p" if many == "of the process" else "", 0))
        for exact in (True, False):
            table.take_turn("t0", exact)

        def work() -> None:
            for _ in range(20):
                for exact in (True, False):
                    table.take_turn("t0", exact)
                list(table.of_process("p", "t", 0))
            for stream in range(20):
                table.forget_stream(stream)

        return steps(work)

    assert cost(3000) <= 1.1 * cost(100) + 20
