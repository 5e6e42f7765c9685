"""The chart view that MLflow's UI opens for a study: saved as a tag of the experiment, and linked.

MLflow does not document the format: it was read from its front end, version 3.17. A test checks it
against the real UI.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Sequence
from typing import Any

import models
from pipeline.system.local_page import HOST
from pipeline.tracking.run_contents import RANK, log_fields, log_param
from pipeline.tracking.server import is_server, without_password
from sweeps.analysis.record import StudyRecord
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import OBJECTIVES

PORT = 5000  # of `pipeline ui`
_SIDE = "workflowType=machine_learning"  # without it, the UI opens on the side for language models
# Axes of the parallel coordinates. A run that lacks one of the params is dropped from the chart.
_MOST_AXES = 4
# Our sections, which come first and are open.
_SEARCHED = "What was searched"
_CURVES = "Learning curves"
_RESULTS = "Results and what they took"
# Sections that MLflow makes of the names of metrics.
_GENERATED = ("train", "val", "val_class", "time", "best", "cost", "sweep")


def view_key(study: str) -> str:
    """Return the view's id in the tags of the experiment."""
    return hashlib.sha256(study.encode()).hexdigest()[:12]


def view_tag(study: str) -> str:
    """Return the tag of the experiment that holds a study's view."""
    return f"mlflow.sharedViewState.{view_key(study)}"


def run_link(experiment_id: str, run_id: str) -> str:
    """Return the link to a run's page, without the host."""
    return f"{short_run_link(experiment_id, run_id)}?{_SIDE}"


def short_run_link(experiment_id: str, run_id: str) -> str:
    """Return a link that fits into a line of a terminal; the way back from it is another side."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}"


def report_link(experiment_id: str, run_id: str) -> str:
    """Return the link to the report among a run's artifacts, without the host."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}/artifacts/report/report.html?{_SIDE}"


def how_to_open(tracking: str, link: str, study: str | None = None) -> str:
    """Write where a link of MLflow's UI opens, for an embedded store with the command before.

    Args:
        tracking: the tracking URI.
        link: without the host.
        study: the study that the command names; None for the one last run.
    """
    if is_server(tracking):
        return f"{without_password(tracking).rstrip('/')}{link}"
    command = "pipeline ui" if study is None else f"pipeline ui {shlex.quote(study)}"
    return f"{command}, then http://{HOST}:{PORT}{link}"


def comparison_link(experiment_id: str, study: str) -> str:
    """Return the link to a study's view, without the host."""
    key = view_key(study)
    return (
        f"/#/experiments/{experiment_id}/runs?viewStateShareKey={key}&compareRunsMode=CHART&{_SIDE}"
    )


def saved_view(record: StudyRecord, *, has_ranks: bool = False) -> str:
    """Build the view of a study, as the text of the tag.

    Args:
        record: the study.
        has_ranks: whether the runs have the places of their trials in the report. Until then the
            best value comes first, also that of a pruned trial.
    """
    state = _state(record, has_ranks=has_ranks)
    now = int(time.time() * 1000)
    return json.dumps(
        {"name": record.name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    )


def _state(record: StudyRecord, *, has_ranks: bool) -> dict[str, Any]:
    objective = OBJECTIVES[record.objective][0]
    best = f"best/{objective.replace('/', '_')}"
    params = dict.fromkeys(["family", "lr", *record.searched])
    figures = [best, "best/val_acc"]
    if has_ranks:
        figures.insert(0, RANK)
    columns = [
        *(f"metrics.`{name}`" for name in dict.fromkeys(figures)),
        "tags.`sweep.end`",
        *(f"params.`{name}`" for name in params),
    ]
    sections = [
        _section(_SEARCHED, display=True, side_by_side=1),
        _section(_CURVES, display=True),
        _section(_RESULTS, display=True),
        *(_section(name, display=False) for name in _GENERATED),
    ]
    return {
        "compareRunCharts": _charts(record, objective, best),
        "compareRunSections": sections,
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": columns,
        "columnOrder": columns,
        "orderByKey": f"metrics.`{RANK if has_ranks else best}`",
        "orderByAsc": has_ranks or not record.maximize,
        "searchFilter": f"tags.`sweep.study` = '{record.name}' and tags.`sweep.trial` != ''",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "isAccordionReordered": True,
    }


def _charts(record: StudyRecord, objective: str, best: str) -> list[dict[str, Any]]:
    """Build the charts of a study.

    Args:
        record: the study.
        objective: the metric of the objective, logged after each epoch.
        best: the metric of the objective at the best epoch.
    """
    common = _unconditional(record)
    axes = [name for name in dict.fromkeys(["family", "lr", *common]) if name in common]
    charts = []
    if axes:
        charts.append(_parallel_coordinates(_axis_params(record, axes[:_MOST_AXES]), best))
    charts += [_line(metric) for metric in dict.fromkeys([objective, "val/loss", "train/loss"])]
    charts.append(_bar(best))
    charts += [_scatter(cost, best) for cost in ("cost/params_millions", "cost/seconds")]
    return charts


def _axis_params(record: StudyRecord, names: Sequence[str]) -> list[str]:
    """Return the params to show fields by: logarithms where the study searches these."""
    by_logarithm = log_fields(record.dimensions)
    return [log_param(name) if name in by_logarithm else name for name in names]


def _unconditional(record: StudyRecord) -> list[str]:
    """Return the searched fields that all trials have, whatever their family."""
    families = next((d.choices for d in record.dimensions if d.field == "family"), ())
    searched = {dimension.field for dimension in record.dimensions}

    def applies_always(dimension: Dimension) -> bool:
        if dimension.when or not dimension.needs & searched <= {"family"}:
            return False
        return not dimension.needs or all(
            _has_option(str(family), dimension) for family in families
        )

    return [dimension.field for dimension in record.dimensions if applies_always(dimension)]


def _section(name: str, *, display: bool, side_by_side: int = 3) -> dict[str, Any]:
    return {
        "uuid": name,
        "name": name,
        "display": display,
        "isReordered": False,
        "columns": side_by_side,
    }


def _has_option(family: str, dimension: Dimension) -> bool:
    """Whether a family surely has an option; a network of the user's own is not loaded for this."""
    if models.is_own(family):
        return dimension.own
    return dimension.field in models.find_family(family).options


def _chart(kind: str, section: str, name: str, runs: int) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": f"{kind} {name}".lower(),
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": runs,
    }


def _parallel_coordinates(axes: Sequence[str], metric: str) -> dict[str, Any]:
    chart = _chart("PARALLEL", _SEARCHED, "coordinates", 100)
    return chart | {
        "selectedParams": list(axes),
        "selectedMetrics": [metric],
        "showAllRuns": True,
    }


def _line(metric: str) -> dict[str, Any]:
    return _chart("LINE", _CURVES, metric, 20) | {
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        # On a linear scale, one bad start would flatten all the other losses.
        "scaleType": "log" if metric.endswith("loss") else "linear",
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "selectedXAxisMetricKey": "",
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
        "range": {},
    }


def _scatter(cost: str, metric: str) -> dict[str, Any]:
    return _chart("SCATTER", _RESULTS, cost, 100) | {
        "xaxis": {"key": cost, "type": "METRIC"},
        "yaxis": {"key": metric, "type": "METRIC"},
    }


def _bar(metric: str) -> dict[str, Any]:
    chart = _chart("BAR", _RESULTS, metric, 20)
    return chart | {"metricKey": metric, "selectedMetricKeys": [metric]}
