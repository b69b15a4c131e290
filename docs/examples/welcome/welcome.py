"""A welcome: send a mail, wait for the answer for a while, remind once, and say how it ended."""

import asyncio
import random
from datetime import timedelta

from perdure import activity, workflow

confirm = workflow.Signal[str]("confirm")
status = workflow.Query[[], str]("status")

PATIENCE = timedelta(minutes=2)


@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def send_mail(to: str, text: str) -> str:
    if random.random() < 0.5:
        raise ConnectionError("the mail server hung up")
    return f"to {to}: {text}"


@workflow.defn
async def welcome(name: str) -> str:
    step = "sending the welcome"

    @status.handler
    def _status() -> str:
        return step

    await send_mail(name, "Welcome! Please confirm.")

    step = "waiting for the answer"
    answers = confirm.channel()
    try:
        answer = await answers.receive(timeout=PATIENCE)
    except TimeoutError:
        step = "reminding"
        await send_mail(name, "We are still waiting.")
        step = "waiting once more"
        answer = await answers.receive()

    step = "done"
    await asyncio.sleep(1)
    return f"{name} said {answer}"
