"""A dynamic workflow replays under the type that its history names, with all its dynamic handlers."""

from collections.abc import Sequence

from perdure import RawValue, workflow
from tests.replay.service import Service, names, update


@workflow.defn(dynamic=True)
async def anything(args: Sequence[RawValue]) -> list[str]:
    said = [workflow.info().workflow_type, *[str(one.payload, "ascii") for one in args]]

    @workflow.signal(dynamic=True)
    def _(name: str, values: list[str]) -> None:
        said.append(f"signal {name} {values}")

    @workflow.update(dynamic=True)
    def on_update(name: str, values: list[int], **options: bool) -> int:
        said.append(f"update {name} {values} {options}")
        return sum(values)

    @on_update.validator
    def _(name: str, values: list[int], **options: bool) -> None:
        if not values:
            raise ValueError(name)

    @workflow.query(dynamic=True)
    def _(name: str, values: list[str]) -> str:
        return f"{name} {values} {len(said)}"

    await workflow.wait_condition(lambda: len(said) >= 5)
    return said


def test_a_dynamic_workflow_replays() -> None:
    """Its messages come by name; what a validator refused is not there."""
    service = Service(anything, {"a": 1})
    service.signal("greet", "Ada")
    assert [] == names(service.turn())
    assert ["RejectUpdate"] == names(service.turn(update("u-1", "add")))
    assert ["RejectUpdate"] == names(service.turn(update("u-2", "add", "x")))
    assert "how ['x'] 3" == service.query("how", "x") == service.query_anew("how", "x")
    assert ["AcceptUpdate", "CompleteUpdate"] == names(service.turn(update("u-3", "add", 1, 2)))
    service.signal("bye")
    service.turn()
    assert ["anything", '{"a":1}', "signal greet ['Ada']", "update add [1, 2] {}", "signal bye []"] == service.result()
    service.check()
