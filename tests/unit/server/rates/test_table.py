"""The home's table: shares by demand, never more than the limit together, whatever is lost or silent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perdure_server.rates.homes import RateKey, home_of
from perdure_server.rates.messages import Ask, Grant
from perdure_server.rates.table import UNHEARD_SECONDS_MAX, WARM_SECONDS, Table

KEY = RateKey("ns", "q", "activity")
MEMBERS = ("a", "b", "c")
LIMIT = 20.0


class Home:
    """The table of server a, on a clock that is moved by hand, and what each server believes that it holds."""

    def __init__(self, members: tuple[str, ...] = MEMBERS) -> None:
        self.table = Table("a")
        self.members = members
        self.now = 0.0
        self.held = dict.fromkeys(members, 0.0)

    def meet(self) -> None:
        """All have been heard, the home itself first, and the first second is over."""
        if self.held["a"]:
            self.ask("a")
        for server, keys in self.table.expect([KEY], self.members, self.now).items():
            for key in keys:
                self.table.hear(server, key, self.held[server])
        self.now += WARM_SECONDS

    def ask(self, server: str, demand: float = 0.0, *, heard: bool = True, **named: float) -> Grant:
        """A server asks; what it is given it takes, unless the answer is lost."""
        self.table.expect([KEY], self.members, self.now)
        asked = Ask(key=KEY, held=self.held[server], demand=demand, **({"limit": LIMIT} | named))
        grant = self.table.lease(server, asked, self.now)
        if heard:
            self.held[server] = grant.share
        return grant

    def rounds(self, demands: dict[str, float], count: int = 3) -> dict[str, float]:
        for _ in range(count):
            for server, demand in demands.items():
                self.ask(server, demand)
        return {server: round(held, 6) for server, held in self.held.items()}


def met() -> Home:
    home = Home()
    home.meet()
    return home


def test_shares_are_in_proportion_to_demand() -> None:
    """Who wants nothing counts for one, so that its first need not wait."""
    assert {"a": 10.0, "b": 8.0, "c": 2.0} == met().rounds({"a": 4, "b": 3, "c": 0})


def test_without_demand_all_have_the_same() -> None:
    """So whatever comes next leaves at once wherever it comes."""
    assert dict.fromkeys(MEMBERS, round(LIMIT / 3, 6)) == met().rounds(dict.fromkeys(MEMBERS, 0.0))


def test_unused_parts_flow_back() -> None:
    """When one has nothing to do any more, the others have its part in the next rounds."""
    home = met()
    home.rounds({"a": 9, "b": 9, "c": 0})
    assert {"a": 1.0, "b": 18.0, "c": 1.0} == home.rounds({"a": 0, "b": 17, "c": 0})


def test_a_lowered_share_counts_until_its_holder_has_heard() -> None:
    """The answer may be lost: then it goes on with what it had."""
    home = Home(("a", "b"))
    home.meet()
    home.ask("b", 9)
    assert LIMIT == home.held["b"]
    home.ask("a", 9)
    assert not home.ask("b", 9, heard=False).settled
    assert 0.0 == home.ask("a", 9).share
    assert 10.0 == home.ask("b", 9).share
    assert 0.0 == home.ask("a", 9).share
    assert 10.0 == home.ask("b", 9).share
    assert 10.0 == home.ask("a", 9).share


def test_a_silent_server_keeps_its_share_while_it_lives() -> None:
    """It goes on with it; when it is dead the others have it."""
    home = met()
    home.rounds({"a": 9, "b": 9, "c": 9})
    assert dict.fromkeys(MEMBERS, round(LIMIT / 3, 6)) == home.rounds({"a": 99, "b": 99})
    home.members = ("a", "b")
    home.table.keep(home.members, {KEY})
    home.rounds({"a": 99, "b": 99})
    assert (10.0, 10.0) == (home.held["a"], home.held["b"])


def test_a_new_home_confirms_until_it_has_heard_all() -> None:
    """What the one before gave is still held."""
    home = Home()
    home.held = {"a": 0.0, "b": 5.0, "c": 15.0}
    assert {"b": [KEY], "c": [KEY]} == home.table.expect([KEY], MEMBERS, home.now)
    assert 0.0 == home.ask("a", 99).share
    assert 5.0 == home.ask("b", 99).share
    home.table.hear("c", KEY, 15.0)
    assert 0.0 == home.ask("a", 99).share
    home.rounds({"a": 9, "b": 9, "c": 9})
    assert dict.fromkeys(MEMBERS, round(LIMIT / 3, 6)) == home.rounds({"a": 9, "b": 9, "c": 9})


def test_who_lives_and_answers_nobody_holds_nothing_after_a_while() -> None:
    """Else the rate would stand still for as long as it does."""
    home = Home()
    assert 0.0 == home.ask("a", 9).share
    home.now += UNHEARD_SECONDS_MAX
    assert LIMIT == home.ask("a", 9).share


def test_what_is_released_is_free() -> None:
    """A server whose queue is gone holds nothing of it; with the last the rate is forgotten."""
    home = met()
    home.rounds({"a": 9, "b": 9})
    home.table.release("b", KEY)
    assert LIMIT == home.ask("a", 9).share
    home.table.release("a", KEY)
    assert not home.table.keys


def test_the_limit_that_was_named_last_holds() -> None:
    """All hear of it with their next share."""
    home = met()
    home.ask("b", 9, limit=40.0, named_at=2.0)
    grant = home.ask("c", 9, limit=10.0, named_at=1.0)
    assert (40.0, 2.0) == (grant.limit, grant.named_at)


def test_the_first_second_is_not_settled() -> None:
    """Who asks first has all, and has to ask again before those who ask next can have their part."""
    home = Home(("a", "b"))
    home.held["b"] = 0.0
    home.table.expect([KEY], home.members, home.now)
    home.table.hear("b", KEY, 0.0)
    assert not home.ask("a", 9).settled
    home.now += WARM_SECONDS
    assert home.ask("a", 9).settled


@given(
    st.lists(
        st.tuples(
            st.sampled_from(MEMBERS),
            st.floats(0, 1e6),
            st.booleans(),
            st.sampled_from(["ask", "ask", "ask", "home", "release"]),
        ),
        max_size=60,
    )
)
def test_together_they_never_hold_more_than_the_limit(steps: list[tuple[str, float, bool, str]]) -> None:
    """Whoever asks in whatever order, whatever answers are lost, and whenever the home is another."""
    home = met()
    for server, demand, heard, step in steps:
        if step == "home":
            home.table = Table("a")
            home.meet()
        elif step == "release":
            home.held[server] = 0.0
            home.table.release(server, KEY)
        else:
            home.ask(server, demand, heard=heard or server == "a")
        assert sum(home.held.values()) <= LIMIT * (1 + 1e-9)


def test_a_home_is_the_same_for_all_and_stays_when_others_go() -> None:
    """Rendezvous hashing: only the rates of a server that is gone get another home."""
    keys = [RateKey("ns", f"q{number}", "activity") for number in range(60)]
    homes = {key: home_of(key, MEMBERS) for key in keys}
    assert set(MEMBERS) == set(homes.values())
    assert homes == {key: home_of(key, tuple(reversed(MEMBERS))) for key in keys}
    left = {key: home_of(key, ("a", "c")) for key in keys}
    assert all(home == left[key] for key, home in homes.items() if home != "b")
