"""Results enter; the pages, charts and pictures that people look at leave.

Every page is a template in templates/, with the style sheet and scripts in static/; `page` puts them together.
"""

from .album import source_thumbnails
from .run import ReportData, write_evaluation_report, write_report
from .runs import RunRow, runs_page, write_runs_page

__all__ = [
    "ReportData",
    "RunRow",
    "runs_page",
    "source_thumbnails",
    "write_evaluation_report",
    "write_report",
    "write_runs_page",
]
