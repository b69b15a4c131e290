"""Money moves between two rows of one table, exactly once, however often the activity is run."""

from datetime import timedelta

from perdure import activity, workflow
from perdure.exceptions import ApplicationError

SOON = timedelta(seconds=10)


@activity.defn(start_to_close_timeout=SOON)
async def open_accounts() -> None:
    async with activity.transaction() as conn:
        await conn.execute("create table if not exists accounts (name text primary key, cents int not null)")
        await conn.execute("insert into accounts values ('ada', 1000), ('bob', 0) on conflict do nothing")


@activity.defn(start_to_close_timeout=SOON)
async def transfer(source: str, target: str, cents: int) -> int:
    async with activity.transaction() as conn:
        left: int | None = await conn.fetchval(
            "update accounts set cents = cents - $2 where name = $1 and cents >= $2 returning cents", source, cents
        )
        if left is None:
            raise ApplicationError(f"{source} does not have {cents}", type="NoMoney", non_retryable=True)
        await conn.execute("update accounts set cents = cents + $2 where name = $1", target, cents)
    return left


@workflow.defn
async def pay(source: str, target: str, cents: int) -> str:
    await open_accounts()
    left = await transfer(source, target, cents)
    return f"{source} has {left} left"
