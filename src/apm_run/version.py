"""The version of the agent, as sent in ``service.agent.version``."""

__version__ = "0.1.0"
