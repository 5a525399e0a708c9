"""`--metrics`: counts and times for Prometheus, read from the loop when they are asked for."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import MissingDependencyError
from ..harmless import harmless
from ..machine import processor_celsius
from .choice import Choice
from .frames import Absence, FrameSource
from .guarded_pages import NOTHING, GuardedPages, Headers, PageRequest, RefusedRequest
from .preview_server import open_server
from .preview_token import find_token, is_own, kept_token
from .sinks import FrameResult

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # seconds
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_POLICY = f"default-src {NOTHING}; frame-ancestors {NOTHING}"


class Metrics:
    """Serve the figures of a loop at `/metrics`.

    The loop only adds to whole numbers here. The text is made when Prometheus requests it, by a
    thread of the server, which has the limits of the preview.
    """

    goes_on = True

    def __init__(
        self,
        host: str,
        port: int,
        choice: Choice,
        source: FrameSource,
        token_file: Path | None = None,
    ) -> None:
        """Listen at once.

        Args:
            host: Address to listen on; any but this machine's own asks for a token.
            port: Port to listen on; 0 takes a free one.
            choice: The file in use, which is named in the figures.
            source: The source, whose counts are among the figures.
            token_file: File with the token, as for `Preview`.

        Raises:
            LmedgeError: The address is in use, or the token cannot be used.
            MissingDependencyError: prometheus-client or waitress is not installed.
        """
        self._choice, self._source = choice, source
        self._frames = self._unknown = 0
        self._seconds = 0.0
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._labels: dict[tuple[str, str], int] = {}
        self._present = False
        self._newest: float | None = None  # time.monotonic() of the newest frame
        self.token = None if is_own(host) else find_token(host, file=token_file)
        pages = _MetricsPages(_text_of(self), self.token)
        self._server = open_server(pages, host, port, option="--metrics")
        self.port = self._server.port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/metrics"

    def shown(self) -> str:
        """Return the address for people, and where its token is; never the token."""
        where = f"LMEDGE_TOKEN, --token-file or {kept_token()}"
        return self.url if self.token is None else f"{self.url} (bearer token of {where})"

    def take(self, result: FrameResult) -> bool:
        """Count a frame."""
        prediction = result.prediction
        seconds = prediction.milliseconds / 1000.0
        self._buckets[bisect.bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds
        self._frames += 1
        self._present, self._newest = True, time.monotonic()
        if result.known:
            label = (prediction.landmark, prediction.category)
            self._labels[label] = self._labels.get(label, 0) + 1
        else:
            self._unknown += 1
        return True

    def absent(self, absence: Absence) -> bool:
        """Remember that the source has no frames."""
        self._present = False
        return True

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def collect(self) -> Iterator[Any]:
        """Yield the figures as families of Prometheus; its registry calls this."""
        from prometheus_client import core

        def counter(name: str, text: str, value: float) -> Any:
            return core.CounterMetricFamily(name, text, value=value)

        def gauge(name: str, text: str, value: float) -> Any:
            return core.GaugeMetricFamily(name, text, value=value)

        source, celsius = self._source, processor_celsius()
        yield counter("lmedge_frames", "Frames that were classified.", self._frames)
        yield counter(
            "lmedge_frames_unknown",
            "Frames that were shown as no landmark that the file knows.",
            self._unknown,
        )
        yield counter(
            "lmedge_frames_dropped",
            "Frames that came while another was classified.",
            source.dropped,
        )
        yield counter("lmedge_frames_damaged", "Frames that arrived damaged.", source.damaged)
        yield counter("lmedge_camera_absences", "How often the camera went away.", source.absences)
        yield gauge("lmedge_camera_present", "1 while frames arrive.", float(self._present))
        if (newest := self._newest) is not None:
            age = time.monotonic() - newest
            yield gauge("lmedge_frame_age_seconds", "Time since the newest frame.", age)
        if celsius is not None:
            yield gauge("lmedge_temperature_celsius", "Hottest thermal zone.", celsius)
        yield self._times(core)
        yield self._shown(core)
        yield self._release(core)

    def _times(self, core: Any) -> Any:
        total, buckets = 0, []
        for edge, count in zip((*map(str, BUCKETS), "+Inf"), list(self._buckets), strict=True):
            total += count
            buckets.append((edge, total))
        return core.HistogramMetricFamily(
            "lmedge_classification_seconds",
            "Time from a frame to its labels.",
            buckets=buckets,
            sum_value=self._seconds,
        )

    def _shown(self, core: Any) -> Any:
        family = core.CounterMetricFamily(
            "lmedge_frames_shown",
            "Frames by the landmark shown, without unknown ones.",
            labels=("landmark", "category"),
        )
        for (landmark, category), count in dict(self._labels).items():
            family.add_metric((harmless(landmark), harmless(category)), count)
        return family

    def _release(self, core: Any) -> Any:
        model = self._choice.current.model
        facts = {
            "file": harmless(model.path.name),
            "sha256": model.sha256,
            "version": __version__,
        }
        return core.InfoMetricFamily("lmedge_release", "The file in use.", value=facts)


class _MetricsPages(GuardedPages):
    """The application: `/metrics`."""

    page_path = "/metrics"

    def __init__(self, text: Callable[[], bytes], token: str | None) -> None:
        self._text = text
        super().__init__(token, _POLICY)

    def answer(self, request: PageRequest) -> tuple[bytes, Headers]:
        """Return the figures."""
        if request.path != self.page_path:
            raise RefusedRequest(404, "ask for /metrics")
        return self._text(), [("Content-Type", _TYPE)]


def _text_of(metrics: Metrics) -> Callable[[], bytes]:
    """Return the function that makes the text, with figures of the process too."""
    try:
        import prometheus_client
    except ImportError as error:
        raise MissingDependencyError(
            f"--metrics needs {error.name}: run `pip install 'lmedge[metrics]'`"
        ) from error
    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    prometheus_client.ProcessCollector(registry=registry)  # memory, processor time
    return lambda: prometheus_client.generate_latest(registry)
