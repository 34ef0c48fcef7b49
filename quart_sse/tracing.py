"""OpenTelemetry spans from publish to render to write, where ``opentelemetry-api`` is installed.

The trace of a message travels in it, as the ``traceparent`` of W3C Trace Context. A publish that is
not recorded sends none, so that nothing else of it is recorded, in any process. Names and
attributes are those of https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

from .release import RELEASE

if TYPE_CHECKING:
    from opentelemetry.context import Context as Carried
    from opentelemetry.trace import Link, Span

#: Most publishes to which a span is linked, and which wait for one render.
MOST_LINKS = 32
SYSTEM = "quart_sse"
#: Interval in which a process without an SDK is asked whether it has one, in seconds.
LOOK = 1.0
_HEADER = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-01")
#: The span of the render that runs; None outside of renders.
_rendering: ContextVar["Span | None"] = ContextVar("_rendering", default=None)


def find_tracing() -> "Tracing | None":
    """Return what makes spans; None without ``opentelemetry-api``."""
    try:
        return Tracing()
    except ImportError:
        return None


def is_trace(text: str) -> bool:
    """Whether a text is the trace of a message, as :attr:`Recorded.trace` has it."""
    return _HEADER.fullmatch(text) is not None


def carry_span(context: Context) -> None:
    """Let the app's renderer, which runs in a context, have the render's span as the current one.

    The renderer's context is empty otherwise, so that it knows nothing of who has published.
    """
    span = _rendering.get()
    if span is not None:
        from opentelemetry import context as contexts
        from opentelemetry import trace

        context.run(contexts.attach, trace.set_span_in_context(span))


class Recorded:
    """A span that is recorded.

    Args:
        span: The span.

    Attributes:
        trace: What messages carry; "" if the span is recorded here and not sampled.
    """

    def __init__(self, span: "Span") -> None:
        self._span = span
        self.trace: str = _trace_of(span)

    def end(self, id: str = "", error: BaseException | None = None) -> None:
        """End the span.

        Args:
            id: Id of the message that was published; "" for none.
            error: What has ended it before its time.
        """
        if id:
            self._span.set_attribute("messaging.message.id", id)
        _end(self._span, error)


class Tracing:
    """Makes the spans of one app or publisher.

    Raises:
        ImportError: If ``opentelemetry-api`` is not installed.
    """

    def __init__(self) -> None:
        from opentelemetry import trace

        self._api = trace
        self._tracer = trace.get_tracer(SYSTEM, RELEASE)
        self._is_on, self._look_at = False, 0.0

    @property
    def is_on(self) -> bool:
        """Whether the app has an SDK, which may come later than this; else no span is recorded."""
        # To ask costs a tenth of a publish, so an SDK that comes late counts within a second.
        if not self._is_on and (now := time.monotonic()) >= self._look_at:
            self._look_at = now + LOOK
            provider = self._api.get_tracer_provider()
            self._is_on = not isinstance(provider, self._api.ProxyTracerProvider)
        return self._is_on

    def publish(self, channel: str, operation: str, name: str) -> Recorded | None:
        """Begin the span of a publish, below the current span; None if it is not recorded.

        Args:
            channel: Where it is published to, without parameters, which may be ids.
            operation: ``publish``, ``refresh`` or ``push``.
            name: Name of the event or the fragment.
        """
        span = self._tracer.start_span(
            f"{operation} {channel}",
            kind=self._api.SpanKind.PRODUCER,
            attributes={
                "messaging.system": SYSTEM,
                "messaging.destination.name": channel,
                "messaging.operation.name": operation,
                "messaging.operation.type": "send",
                "quart_sse.name": name,
            },
        )
        return Recorded(span) if span.is_recording() else None

    @contextmanager
    def render(self, traces: Sequence[str], channel: str, fragment: str) -> Iterator[str]:
        """Record a render, and yield the trace of its span; "" if it is not recorded.

        Args:
            traces: The publishes that it shows.
            channel: The fragment's channel.
            fragment: The fragment's name.
        """
        span = self._process(f"render {channel}", "render", traces, [channel], fragment)
        if span is None:
            yield ""
            return
        token = _rendering.set(span)
        try:
            yield _trace_of(span)
        except BaseException as error:
            _end(span, error)
            raise
        else:
            _end(span)
        finally:
            _rendering.reset(token)

    def write(
        self, traces: Sequence[str], channels: Sequence[str], streams: int
    ) -> Recorded | None:
        """Begin the span of a write to many streams; None if it is not recorded.

        Args:
            traces: The publishes and renders whose messages are written.
            channels: The channel of each.
            streams: Number of streams.
        """
        name = f"write {channels[0]}" if len(set(channels)) == 1 else "write"
        span = self._process(name, "write", traces, channels)
        if span is not None:
            span.set_attribute("quart_sse.streams", streams)
        return None if span is None else Recorded(span)

    def _process(
        self,
        title: str,
        operation: str,
        traces: Sequence[str],
        channels: Sequence[str],
        name: str = "",
    ) -> "Span | None":
        """Begin a span below the first of some spans of this or other processes, linked to all."""
        links = list(filter(None, map(self._link, traces[:MOST_LINKS])))
        if not links:
            return None
        attributes: dict[str, Any] = {
            "messaging.system": SYSTEM,
            "messaging.operation.name": operation,
            "messaging.operation.type": "process",
        }
        if len(set(channels)) == 1:
            attributes["messaging.destination.name"] = channels[0]
        if len(traces) > 1:
            attributes["messaging.batch.message_count"] = len(traces)
        if name:
            attributes["quart_sse.name"] = name
        span = self._tracer.start_span(
            title,
            context=self._below(links[0]),
            kind=self._api.SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
        )
        return span if span.is_recording() else None

    def _link(self, trace: str) -> "Link | None":
        found = _HEADER.fullmatch(trace)
        if found is None:
            return None
        flags = self._api.TraceFlags(self._api.TraceFlags.SAMPLED)
        trace_id, span_id = (int(part, 16) for part in found.groups())
        return self._api.Link(self._api.SpanContext(trace_id, span_id, True, flags))

    def _below(self, link: "Link") -> "Carried":
        from opentelemetry.context import Context as Carried

        parent = self._api.NonRecordingSpan(link.context)
        # The current context is that of another publish in this process, so none of it counts.
        return self._api.set_span_in_context(parent, Carried())


def _trace_of(span: "Span") -> str:
    context = span.get_span_context()
    is_sampled = context.trace_flags.sampled
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01" if is_sampled else ""


def _end(span: "Span", error: BaseException | None = None) -> None:
    if error is not None:
        from opentelemetry.trace import Status, StatusCode

        span.record_exception(error)
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
    span.end()
