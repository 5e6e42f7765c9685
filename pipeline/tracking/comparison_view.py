"""The comparison that MLflow's UI opens on: one saved view per study, and the link to it. Best effort.

The format is MLflow's own and undocumented (read from its front end, 3.17): a test checks it against the real UI.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import models
from sweeps.analysis.record import StudyRecord
from sweeps.spec.study_spec import OBJECTIVES

_SIDE = "workflowType=machine_learning"  # else it opens on the side for language models
_MOST_AXES = (
    4  # parallel coordinates; a run that lacks one of its params is dropped from the picture
)
_GENERATED = (
    "train",
    "val",
    "val_class",
    "time",
    "best",
    "cost",
)  # sections MLflow makes of metric names
# Our sections, which come first and are open.
_SEARCHED, _CURVES, _RESULTS = _SECTIONS = (
    "What was searched",
    "Learning curves",
    "Results and what they took",
)


def view_key(study: str) -> str:
    """The view's id in the experiment's tags."""
    return hashlib.sha256(study.encode()).hexdigest()[:12]


def run_link(experiment_id: str, run_id: str) -> str:
    """The part of the UI's address that opens a run's page, after the host."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}?{_SIDE}"


def report_link(experiment_id: str, run_id: str) -> str:
    """The part of the UI's address that opens the report among a run's artifacts, after the host."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}/artifacts/report/report.html?{_SIDE}"


def comparison_link(experiment_id: str, study: str) -> str:
    """The part of the UI's address that opens the comparison, after the host."""
    return f"/#/experiments/{experiment_id}/runs?viewStateShareKey={view_key(study)}&compareRunsMode=CHART&{_SIDE}"


def saved_view(record: StudyRecord) -> str:
    """The saved view of a study, as the text of its tag."""
    curve = OBJECTIVES[record.objective][0]
    best = f"best/{curve.replace('/', '_')}"
    always = _unconditional(record)
    axes = [name for name in dict.fromkeys(["family", "lr", *always]) if name in always][
        :_MOST_AXES
    ]
    fields = [f"params.`{name}`" for name in dict.fromkeys(["family", "lr", *record.searched])]
    columns = [f"metrics.`{best}`", "tags.`sweep.end`", *fields]
    state = {
        "compareRunCharts": [
            *([_parallel(axes, best)] if axes else []),
            *map(_line, dict.fromkeys([curve, "val/loss", "train/loss"])),
            _bar(best),
            *(_scatter(cost, best) for cost in ("cost/params_millions", "cost/seconds")),
        ],
        "compareRunSections": [
            *(
                _section(name, display=True, side_by_side=1 if name == _SEARCHED else 3)
                for name in _SECTIONS
            ),
            *(_section(name, display=False) for name in _GENERATED),
        ],
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": columns,
        "columnOrder": columns,
        "orderByKey": f"metrics.`{best}`",
        "orderByAsc": not record.maximize,
        "searchFilter": f"tags.`sweep.study` = '{record.name}' and tags.`sweep.trial` != ''",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "isAccordionReordered": True,
    }
    now = int(time.time() * 1000)
    return json.dumps(
        {"name": record.name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    )


def _unconditional(record: StudyRecord) -> list[str]:
    """The searched fields that every trial has, whatever its family."""
    families = next((d.choices for d in record.dimensions if d.field == "family"), ())
    return [
        d.field
        for d in record.dimensions
        if not d.when
        and d.needs & {other.field for other in record.dimensions} <= {"family"}
        and (
            not d.needs
            or all(d.field in models.find_family(str(family)).options for family in families)
        )
    ]


def _section(name: str, *, display: bool, side_by_side: int = 3) -> dict[str, Any]:
    return {
        "uuid": name,
        "name": name,
        "display": display,
        "isReordered": False,
        "columns": side_by_side,
    }


def _card(kind: str, section: str, name: str, runs: int) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": f"{kind} {name}".lower(),
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": runs,
    }


def _parallel(axes: list[str], metric: str) -> dict[str, Any]:
    card = _card("PARALLEL", _SEARCHED, "coordinates", 100)
    return card | {"selectedParams": axes, "selectedMetrics": [metric], "showAllRuns": True}


def _line(metric: str) -> dict[str, Any]:
    return _card("LINE", _CURVES, metric, 20) | {
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "scaleType": "log"
        if metric.endswith("loss")
        else "linear",  # one bad start would flatten all the others
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "selectedXAxisMetricKey": "",
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
        "range": {},
    }


def _scatter(cost: str, metric: str) -> dict[str, Any]:
    axes = {
        axis: {"key": key, "type": "METRIC"} for axis, key in (("xaxis", cost), ("yaxis", metric))
    }
    return _card("SCATTER", _RESULTS, cost, 100) | axes


def _bar(metric: str) -> dict[str, Any]:
    return _card("BAR", _RESULTS, metric, 20) | {
        "metricKey": metric,
        "selectedMetricKeys": [metric],
    }
