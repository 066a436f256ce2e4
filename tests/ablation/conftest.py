"""The scenes and the model that are small enough to train in seconds."""

from tests.training_fixtures import config, data, scenes

__all__ = ["config", "data", "scenes"]
