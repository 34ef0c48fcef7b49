"""Spans of OpenTelemetry, as its SDK records them in this process."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler


class Spans:
    """Records the spans of apps and publishers that are made after it.

    Args:
        monkeypatch: Takes the provider away in the end; a process has one, for good.
        sampler: What is recorded; None for all.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler or ParentBased(ALWAYS_ON))
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", self.provider)

    @property
    def all(self) -> list[ReadableSpan]:
        """The spans that have ended."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Return those with a name."""
        return [span for span in self.all if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the only one with a name."""
        (span,) = self.named(name)
        return span


def id_of(span: ReadableSpan) -> int:
    """Return the id of a span."""
    assert span.context is not None
    return int(span.context.span_id)


def is_below(span: ReadableSpan, parent: ReadableSpan) -> bool:
    """Whether a span is a child of another one, in the same trace, and linked to it."""
    assert span.context is not None
    assert parent.context is not None
    is_child = span.parent is not None and span.parent.span_id == parent.context.span_id
    is_linked = parent.context.span_id in {link.context.span_id for link in span.links}
    return is_child and is_linked and span.context.trace_id == parent.context.trace_id
