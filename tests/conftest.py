"""Settings of the whole suite."""

from hypothesis import settings

# A busy machine is no failure: how long things take is measured in benchmarks/.
settings.register_profile("lab", deadline=None)
settings.load_profile("lab")
