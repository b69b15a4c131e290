"""Rates that hold over all servers: each has a home, which gives every server its share of it.

`homes` says which server that is, `table` is what the home knows (pure), `rounds` asks and answers, `requests` keeps
the rates of namespaces. `matching` keeps those of task queues.
"""

from perdure_server.rates.requests import RequestRates
from perdure_server.rates.rounds import Rounds

__all__ = ["RequestRates", "Rounds"]
