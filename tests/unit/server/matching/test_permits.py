"""The table of permits: who gets one, in which order, and which word counts."""

from __future__ import annotations

from msgspec import structs

from perdure_server.matching.permits import Claim, PermitTable

LIMIT = "1/activity/printers"


def claim(event_id: int, *, number: int = 0, most: int = 2, **more: object) -> Claim:
    given = Claim(
        limit=LIMIT,
        most=most,
        said_at=0.0,
        priority=3,
        due_at=float(event_id),
        shard_id=1,
        run_id="run",
        scheduled_event_id=event_id,
        number=number or event_id,
    )
    return structs.replace(given, **more)


def given(table: PermitTable) -> list[int]:
    """To which events permits are given now."""
    return [grant.claim.scheduled_event_id for grant in table.grants(LIMIT)]


def full() -> PermitTable:
    """Two hold, and three wait."""
    table = PermitTable()
    for event_id in (1, 2, 3, 4, 5):
        table.want(claim(event_id), "a")
    assert [1, 2] == given(table)
    return table


def test_so_many_hold_and_the_others_wait_in_order() -> None:
    """A permit that comes back goes to the one that was due first."""
    table = full()
    assert [] == given(table)
    table.drop(claim(2))
    assert [3] == given(table)
    table.drop(claim(1))
    table.drop(claim(3))
    assert [4, 5] == given(table)


def test_the_more_urgent_go_first() -> None:
    """Priority counts before time."""
    table = full()
    table.want(claim(9, priority=1), "b")
    table.drop(claim(1))
    assert [9] == given(table)


def test_a_repeat_changes_nothing() -> None:
    """Neither of who waits nor of who holds."""
    table = full()
    table.want(claim(1), "a")
    table.want(claim(3), "a")
    table.drop(claim(1))
    table.drop(claim(2))
    assert [3, 4] == given(table)


def test_who_has_gone_gets_nothing() -> None:
    """A claim that is dropped while it waits leaves the line."""
    table = full()
    table.drop(claim(3))
    table.drop(claim(1))
    assert [4] == given(table)


def test_word_of_an_older_claim_changes_nothing() -> None:
    """The attempt has asked again meanwhile: what comes late about its first permit is not about this one."""
    table = full()
    table.want(claim(1, number=11), "a")
    assert [1] == given(table)
    table.drop(claim(1, number=1))
    assert [] == given(table)
    table.drop(claim(1, number=11))
    assert [3] == given(table)


def test_the_newest_maximum_counts() -> None:
    """Whoever said it last, by when it was said, not by when it was heard."""
    table = full()
    table.want(claim(6, most=4, said_at=2.0), "a")
    assert [3, 4] == given(table)
    table.want(claim(7, most=9, said_at=1.0), "a")
    assert [] == given(table)


def test_fewer_may_run_than_do() -> None:
    """A smaller maximum takes nothing away, and nothing is given until fewer hold."""
    table = full()
    table.want(claim(6, most=1, said_at=1.0), "a")
    table.drop(claim(1))
    assert [] == given(table)
    table.drop(claim(2))
    assert [3] == given(table)


def test_what_rows_hold_is_held() -> None:
    """Until its owner says that it is over, under whatever number."""
    table = PermitTable()
    table.stored(LIMIT, ("run", 1))
    table.stored(LIMIT, ("run", 2))
    table.want(claim(3), "a")
    assert [] == given(table)
    table.drop(claim(1, number=77))
    assert [3] == given(table)


def test_an_owner_knows_better_than_its_rows() -> None:
    """One that it says waits does not hold; one that it says runs is held once."""
    table = PermitTable()
    table.want(claim(1), "a")
    table.hold(claim(2))
    table.stored(LIMIT, ("run", 1))
    table.stored(LIMIT, ("run", 2))
    assert [1] == given(table)
    table.drop(claim(2))
    table.want(claim(3), "a")
    assert [3] == given(table)


def test_whoever_runs_holds_even_beyond_the_maximum() -> None:
    """It cannot be taken back from the worker."""
    table = full()
    table.hold(claim(9))
    table.drop(claim(1))
    assert [] == given(table)
    table.drop(claim(9))
    assert [3] == given(table)


def test_limits_do_not_know_each_other() -> None:
    """Each has a line of its own, and all are asked at once when a reign begins."""
    table = full()
    table.want(claim(8, most=1, limit="1/activity/other"), "b")
    assert ["1/activity/other"] == [grant.claim.limit for grant in table.all_grants()]
    assert table.waits
