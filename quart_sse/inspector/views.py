"""Views: what each page of the inspector shows, found again with each render."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..broker import Message
from ..errors import BrokerUnavailable
from ..registry import Stats, Surveyed, written_message
from ..wire import EVERYONE, is_audience
from ..wiring import Services
from .charts import Chart, draw
from .question import CHANNEL, condition
from .samples import Samples
from .settings import settings

#: Rows of a page.
ROWS = 50
#: Topics of a page, each with a chart of its newest events.
TOPICS = 20
#: Shown events, and events that are read for a chart.
EVENTS, CHARTED = 50, 64
#: Topics whose events are shown where no topic is named: those with most connections.
HEARD = 20
#: Shown people.
PEOPLE = 50
#: Bars of the chart of a topic's events, and what time one is, in seconds.
BARS, BAR = 24, 5.0


@dataclass(slots=True)
class Look:
    """What the inspector of one app works with.

    Args:
        services: The app's services.
        payloads: Whether data of events, and what errors say, are shown.
    """

    services: Services
    payloads: bool = True
    samples: Samples[Stats] = field(default_factory=Samples)
    #: Messages that processes have received: channel -> their number.
    received: Samples[Mapping[str, int]] = field(default_factory=Samples)

    async def figures(self) -> Surveyed:
        """Return the figures of all processes, and keep them for the charts."""
        try:
            found = await self.services.survey.figures()
        except BrokerUnavailable:  # the others cannot be asked
            own, process = self.services.statistics.of_process(), self.services.control.processes
            found = Surveyed(own, {process.own: own} if process.own else {}, {}, {}, ())
        self.samples.add(found.total)
        return found


#: Returns what a page shows, by name.
View = Callable[[Look, Mapping[str, str]], Awaitable[dict[str, Any]]]


async def overview(look: Look, asked: Mapping[str, str]) -> dict[str, Any]:
    """Figures, rates, processes, limits, and how streams end."""
    found = await look.figures()
    own = f"{CHANNEL}?"
    busiest = [each for each in found.total.top_topics.items() if not each[0].startswith(own)]
    return {
        "found": found,
        "total": found.total,
        "busiest": busiest,
        "curves": _curves(look.samples),
    }


async def connections(look: Look, asked: Mapping[str, str]) -> dict[str, Any]:
    """One page of the connections."""
    survey = look.services.survey
    sheet = await survey.connections(condition(asked), asked.get("after", ""), ROWS)
    return {"sheet": sheet, "now": time.time()}


async def connection(look: Look, asked: Mapping[str, str]) -> dict[str, Any]:
    """One connection."""
    row = await look.services.survey.connection(asked.get("id", ""))
    return {"row": row, "now": time.time()}


async def topics(look: Look, asked: Mapping[str, str]) -> dict[str, Any]:
    """The channels, and one page of the topics with their newest events."""
    survey, channels = look.services.survey, look.services.channels.declared
    found, sheet, received = await asyncio.gather(
        look.figures(),
        survey.topics(condition(asked), asked.get("after", ""), TOPICS),
        survey.received(),
    )
    look.received.add(received)
    events = await asyncio.gather(*(_events(look, row["name"], CHARTED) for row in sheet.rows))
    rows = [{**row, "chart": _chart(kept)} for row, kept in zip(sheet.rows, events, strict=True)]
    return {
        "sheet": sheet,
        "rows": rows,
        "channels": [
            (channel.record(), found.total.by_channel.get(name, 0), *_moves(look, name))
            for name, channel in sorted(channels.items())
        ],
    }


async def topic(look: Look, asked: Mapping[str, str]) -> dict[str, Any]:
    """One topic: who is there, its renders, and its newest events."""
    services, name = look.services, asked.get("name", "")
    if not _is_known(services, name):
        return {"name": name, "is_known": False}
    here, sheet, renders, events = await asyncio.gather(
        services.serving.run(services.presence.look, name),
        services.survey.topics({"part": name}, "", ROWS),
        services.survey.renders({"topic": name}, "", ROWS),
        _events(look, name, EVENTS),
    )
    return {
        "name": name,
        "is_known": True,
        "here": here,
        "people": here.who[:PEOPLE],
        "viewers": next((row["viewers"] for row in sheet.rows if row["name"] == name), 0),
        "renders": renders.rows,
        "events": _shown(look, map(written_message, reversed(events))),
        "events_chart": _chart(events),
        "keep": services.channels.keep(name),
    }


async def renders(look: Look, asked: Mapping[str, str]) -> dict[str, Any]:
    """One page of the shared fragments; those with errors come first."""
    survey = look.services.survey
    return {"sheet": await survey.renders(condition(asked), asked.get("after", ""), ROWS)}


async def messages(look: Look, asked: Mapping[str, str]) -> dict[str, Any]:
    """The newest messages: events that the broker keeps, and all that comes while this is shown.

    Without a topic the events are those of the topics with most connections.
    """
    name, survey = asked.get("topic", ""), look.services.survey
    if name and not _is_known(look.services, name):
        return {"name": name, "is_known": False, "events": []}
    names = [name]
    if not name:
        found = await look.figures()
        names = [*list(found.total.top_topics)[:HEARD], EVERYONE]
    sheet, kept = await asyncio.gather(
        survey.messages(name or None, EVENTS),
        asyncio.gather(*(_events(look, each, EVENTS) for each in names)),
    )
    seen = {row["place"]: row for row in sheet.rows if not row["topic"].startswith(f"{CHANNEL}?")}
    seen |= {row["place"]: row for events in kept for row in map(written_message, events)}
    rows = [seen[place] for place in sorted(seen)[:EVENTS]]
    return {"name": name, "is_known": True, "heard": len(names), "events": _shown(look, rows)}


async def configuration(look: Look, asked: Mapping[str, str]) -> dict[str, Any]:
    """The settings."""
    return {"settings": settings(look.services.config)}


VIEWS: Mapping[str, View] = {
    each.__name__: each
    for each in (
        overview,
        connections,
        connection,
        topics,
        topic,
        renders,
        messages,
        configuration,
    )
}


def _curves(samples: Samples[Stats]) -> list[Chart]:
    """Return the charts of the overview."""
    return [
        samples.gauge("Connections", "", lambda each: each.connections),
        samples.rate("Published", "per second", lambda each: each.published),
        samples.rate("Delivered", "per second", lambda each: each.delivered),
        samples.rate("Written", "KiB per second", lambda each: each.written / 1024),
        samples.rate("Renders", "per second", lambda each: each.renders.number),
        samples.gauge("Lag, median", "ms", lambda each: 1000 * (each.lag.p50 or 0.0)),
    ]


def _moves(look: Look, channel: str) -> tuple[Chart, Chart]:
    """Return the charts of a channel: its viewers, and the messages that came for them."""
    return (
        look.samples.gauge("Viewers", "", lambda each: each.by_channel.get(channel, 0)),
        look.received.rate("Messages", "per second", lambda each: each.get(channel, 0)),
    )


# -- events ----------------------------------------------------------------------------------------


def _is_known(services: Services, name: str) -> bool:
    """Whether a name may be that of a topic, or of an audience."""
    return bool(name) and (is_audience(name) or services.channels.of(name) is not None)


async def _events(look: Look, topic: str, most: int) -> list[Message]:
    """Return the newest kept events of a topic, oldest first; none while the broker is away."""
    services = look.services
    most = min(services.channels.keep(topic).events, most)
    try:
        return await services.binding.publisher.history(topic, most) if most else []
    except BrokerUnavailable:
        return []


def _chart(events: list[Message]) -> Chart:
    """Draw when the newest events came."""
    now, counts = time.time(), [0] * BARS
    for event in events:
        place = BARS - 1 - int((now - event.id.ms / 1000) // BAR)
        if 0 <= place < BARS:
            counts[place] += 1
    return draw("Events", f"in {BAR:.0f} s", counts, BARS)


def _shown(look: Look, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages as a page shows them."""
    now = time.time()
    return [
        {
            **row,
            "age": now - row["ms"] / 1000,
            "data": row["data"] if look.payloads else None,
            "is_cut": row["size"] > len(row["data"]),
            "where": row["where"] if look.payloads else None,
            "is_filtered": row["where"] is not None,
        }
        for row in rows
    ]
