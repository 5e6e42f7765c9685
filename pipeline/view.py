"""The comparison that MLflow's UI opens on: one saved view per study, and the link to it. Best effort.

The format is MLflow's own and undocumented (read from its front end, 3.17): a test checks it against the real UI.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import models
from sweeps.ranking import StudyRecord
from sweeps.space import OBJECTIVES

_MOST_AXES = 4  # parallel coordinates; a run that lacks one of its params is dropped from the picture
_GENERATED = ("train", "val", "val_class", "time", "best", "cost")  # sections MLflow makes of metric names


def key(study: str) -> str:
    """The view's id in the experiment's tags."""
    return hashlib.sha256(study.encode()).hexdigest()[:12]


def link(experiment_id: str, study: str) -> str:
    """The part of the UI's address that opens the comparison, after the host."""
    query = f"viewStateShareKey={key(study)}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"/#/experiments/{experiment_id}/runs?{query}"


def view(record: StudyRecord) -> str:
    """The saved view of a study, as the text of its tag."""
    curve = OBJECTIVES[record.objective][0]
    best = f"best/{curve.replace('/', '_')}"
    always = _unconditional(record)
    axes = [name for name in dict.fromkeys(["family", "lr", *always]) if name in always][:_MOST_AXES]
    columns = [
        f"metrics.`{best}`",
        "tags.`sweep.end`",
        *(f"params.`{n}`" for n in dict.fromkeys(["family", "lr", *record.searched])),
    ]
    state = {
        "compareRunCharts": [_parallel(axes, best), _line(curve), _line("train/loss")],
        "compareRunSections": [
            {"uuid": "sweep", "name": "Sweep", "display": True, "isReordered": False},
            *({"uuid": name, "name": name, "display": False, "isReordered": False} for name in _GENERATED),
        ],
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": columns,
        "orderByKey": f"metrics.`{best}`",
        "orderByAsc": not record.maximize,
        "searchFilter": f"tags.`sweep.study` = '{record.name}' and tags.`sweep.trial` != ''",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "isAccordionReordered": True,
    }
    now = int(time.time() * 1000)
    return json.dumps({"name": record.name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)})


def _unconditional(record: StudyRecord) -> list[str]:
    """The searched fields that every trial has, whatever its family."""
    families = next((d.choices for d in record.dimensions if d.field == "family"), ())
    return [
        d.field
        for d in record.dimensions
        if not d.when
        and d.needs & {other.field for other in record.dimensions} <= {"family"}
        and (not d.needs or all(d.field in models.find(str(family)).options for family in families))
    ]


def _card(kind: str, name: str) -> dict[str, Any]:
    return {"type": kind, "uuid": name, "metricSectionId": "sweep", "deleted": False, "isGenerated": False}


def _parallel(axes: list[str], metric: str) -> dict[str, Any]:
    return {
        **_card("PARALLEL", "parallel"),
        "runsCountToCompare": 100,
        "selectedParams": axes,
        "selectedMetrics": [metric],
        "showAllRuns": True,
    }


def _line(metric: str) -> dict[str, Any]:
    return {
        **_card("LINE", f"line {metric}"),
        "runsCountToCompare": 20,
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "selectedXAxisMetricKey": "",
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
        "range": {},
    }
