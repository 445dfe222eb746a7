"""redis-py: a span per command and per pipeline, retries and reconnection included.

A subscription is a command; listening for messages is none, nor is what a connection says of itself when it is made.
"""

from __future__ import annotations

from apm_run.conventions import redis
from apm_run.instrument.vocabulary import Instrumentation, Target

_CLIENTS = ("redis.client", "redis.asyncio.client")
_CLUSTERS = ("redis.cluster", "redis.asyncio.cluster")

INSTRUMENTATION = Instrumentation(
    library="redis",
    versions="3.5 to 8.1",
    targets=(
        *(Target(f"{module}:Redis.execute_command", redis.command, observe=redis.reached) for module in _CLIENTS),
        # Of a pipeline that watches keys; the others it keeps until they are executed.
        *(Target(f"{module}:Pipeline.immediate_execute_command", redis.command) for module in _CLIENTS),
        *(Target(f"{module}:Pipeline.execute", redis.pipeline, observe=redis.reached) for module in _CLIENTS),
        *(Target(f"{module}:PubSub.execute_command", redis.command) for module in _CLIENTS),
        *(Target(f"{module}:RedisCluster.execute_command", redis.command) for module in _CLUSTERS),
        *(Target(f"{module}:ClusterPipeline.execute", redis.pipeline) for module in _CLUSTERS),
        *(Target(f"{module}:TransactionStrategy._immediate_execute_command", redis.command) for module in _CLUSTERS),
        *(Target(f"{module}:ClusterPubSub.execute_command", redis.command) for module in _CLUSTERS),
    ),
)
