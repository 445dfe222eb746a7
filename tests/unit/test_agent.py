"""The composition root."""

from __future__ import annotations

import threading

from apm_run.agent import Agent


def test_threads_that_build_at_once_share_one_tracer_and_one_exporter():
    for _ in range(50):
        agent = Agent(0, 0)
        barrier = threading.Barrier(4)
        found = []

        def build(agent=agent, barrier=barrier, found=found):
            barrier.wait()
            found.append((agent.tracer, agent.settings))

        threads = [threading.Thread(target=build) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(tracer) for tracer, _ in found}) == 1
        assert len({id(settings) for _, settings in found}) == 1
        assert agent.exporter is agent.tracer.sink._exporter
