"""The app that the tests of spans serve: what it records goes to a file, a line for each span."""

import os

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from quart import Quart

from quart_sse import SSE

out = open(os.environ["SPANS"], "a", buffering=1)  # noqa: SIM115 - as long as the process lives
provider = TracerProvider()
exporter = ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(indent=None) + "\n")
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

app = Quart(__name__)
sse = SSE(app)
news = sse.channel("news", "/news", public=True)


@news.fragment("count")
def count() -> str:
    """Render something, of which a query is recorded."""
    with trace.get_tracer("app").start_as_current_span("query"):
        return "<b>count</b>"
