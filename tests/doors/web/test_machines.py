"""The addresses for Prometheus and supervisors."""

from __future__ import annotations

import asyncio

import pytest

from tests.doors.web.peers import Site, running


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("/healthz", "The service is alive.\n"), ("/readyz", "The service is ready.\n")],
)
def test_a_supervisor_is_told_in_one_sentence_and_a_status(path: str, sentence: str) -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session:
            async with session.get(site.url(path)) as response:
                assert (response.status, await response.text()) == (200, sentence)
                assert response.content_type == "text/plain"
                assert response.headers["Cache-Control"] == "no-store"
            site.problem = "The machine is on fire."
            async with session.get(site.url(path)) as response:
                assert (response.status, await response.text()) == (503, f"{site.problem}\n")
            async with session.head(site.url(path)) as response:
                assert response.status == 503
            async with session.post(site.url(path)) as response:
                assert response.status == 405

    asyncio.run(scenario())


def test_prometheus_is_told_the_format_of_the_figures() -> None:
    async def scenario() -> None:
        site = Site()
        accept = {"Accept": "application/openmetrics-text;version=nonsense,*/*;q=x"}
        async with (
            running(site) as session,
            session.get(site.url("/metrics"), headers=accept) as response,
        ):
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert await response.read() == b"stt_mqtt_inference_threads 2.0\n"

    asyncio.run(scenario())
