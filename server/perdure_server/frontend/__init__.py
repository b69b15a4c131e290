"""The HTTP edge: requests in, answers out, and who may ask at all.

`Frontend` listens, `port` is what it asks of the engine. It decodes and encodes, guards, bounds waits, and decides
nothing: every rule of workflows is the engine's. aiohttp is spoken here and in `web` only.
"""

from perdure_server.frontend.app import Frontend, FrontendOptions
from perdure_server.frontend.port import Api, Health, OutcomeWait, Readiness

__all__ = ["Api", "Frontend", "FrontendOptions", "Health", "OutcomeWait", "Readiness"]
