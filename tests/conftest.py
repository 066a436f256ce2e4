"""Settings of the whole suite."""

import pytest
from hypothesis import settings

# A busy machine is no failure: how long things take is measured in benchmarks/.
settings.register_profile("lab", deadline=None)
settings.load_profile("lab")


# Folders whose files take minutes. Each file is one process's, so these begin first.
_LONG = ("notebooks", "browser", "faults", "train", "ablation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that no process is left with one of them at the end."""
    places = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.parent.name, len(_LONG)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have measured, and how many cases the fuzz suite has tried, in every process.

    A test gives a line by ``record_property("figure", line)``; ``tests/fuzz/conftest.py`` counts the cases.
    """
    tried = {"fuzz_good": 0, "fuzz_refused": 0}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, count in getattr(report, "user_properties", ()):
                if name == "figure" and report.when == "teardown":
                    terminalreporter.write_line(str(count))
                if name in tried and report.when == "teardown":
                    tried[name] += int(count)
    if sum(tried.values()):
        terminalreporter.write_line(
            f"fuzz: {sum(tried.values())} cases tried, {tried['fuzz_good']} ended in a good result, "
            f"{tried['fuzz_refused']} in one clear line"
        )
