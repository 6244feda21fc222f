"""The browser of the report's tests, for the page of a study."""

from tests.report.conftest import browser

__all__ = ["browser"]
