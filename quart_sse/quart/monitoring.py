"""The endpoint ``sse.stats``, which health checks and dashboards read, if the app allows it."""

import json
import logging
from typing import Any

from quart import Quart, Response, abort, request

from ..broker import State
from ..channels import AppFunctions
from ..errors import BrokerUnavailable
from ..logs import LogLine
from ..registry import written
from ..wiring import Services
from .publishing import ProblemError, check_sender

STATS_FAILED = LogLine(
    "access",
    "authorize-stats-failed",
    logging.ERROR,
    "The function authorize of sse.stats_endpoint() failed; the request is refused.",
)

#: States of the broker in which streams can be opened and messages arrive.
_HEALTHY = (State.READY, State.DEGRADED)


class StatsEndpoint:
    """The endpoint of one app.

    Args:
        services: The app's services.
        functions: Those of the app, which may be registered later.
    """

    def __init__(self, services: Services, functions: AppFunctions) -> None:
        self._host = services.host
        self._errors = services.errors
        self._broker = services.broker
        self._connections = services.connections
        self._statistics = services.statistics
        self._processes = services.processes
        self._functions = functions

    def install(self, app: Quart, prefix: str) -> None:
        """Register the URL, which is not found as long as the app wants none.

        Args:
            app: The app.
            prefix: ``QUART_SSE_URL_PREFIX``.
        """
        app.add_url_rule(f"{prefix}/~stats", "sse.stats", self._respond, methods=["GET"])

    async def _respond(self, **_: Any) -> Response:
        if self._functions.stats is None:
            abort(404)
        try:
            await self._check()
            told = await self._figures()
        except ProblemError as problem:
            return problem.response()
        status = 200 if told["healthy"] else 503
        headers = {"Cache-Control": "no-store"}
        return Response(json.dumps(told), status, headers, mimetype="application/json")

    async def _check(self) -> None:
        """Refuse who may not read the figures.

        Raises:
            ProblemError: If the app does not allow it.
        """
        assert self._functions.stats is not None
        (authorize,) = self._functions.stats
        await check_sender(
            self._host,
            authorize,
            "authorize of sse.stats_endpoint()",
            lambda error: self._errors.log("stats by HTTP", error, STATS_FAILED),
        )

    async def _figures(self) -> dict[str, Any]:
        """Return what the answer says.

        Raises:
            ProblemError: If the query is wrong, or the other processes cannot be asked.
        """
        is_closing = self._connections.is_closing
        healthy = {"healthy": self._broker.state in _HEALTHY and not is_closing}
        asked = request.args.get("processes", "one")
        if asked == "one":
            return healthy | written(self._statistics.of_process())
        if asked != "all":
            raise ProblemError(422, "parameter", f"processes is {asked!r}. Use one or all.")
        try:
            found = await self._processes.stats()
        except BrokerUnavailable as error:
            raise ProblemError(503, "broker-unavailable", str(error)) from None
        return {
            **healthy,
            **written(found.total),
            "silent": [each.id for each in found.silent],
        }
