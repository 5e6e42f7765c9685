"""The analysis of a study's record."""

import dataclasses
import pickle

from support.records import mixed_study, study_with_finalists

from sweeps.analysis.ranking import find_best_trial, rank


def test_a_study_is_analysed_once():
    """The ranking is kept with the record, and what follows from it is that of the ranking."""
    record = mixed_study()
    assert record.ranked is record.ranked
    assert list(record.ranked) == rank(record.results)
    assert record.best_trial is find_best_trial(record.results)
    assert record.lead.first is record.ranked[0]
    assert record.complete_configurations == record.ranked[: len(record.complete_configurations)]


def test_a_changed_record_is_analysed_anew():
    """A record with other results has another ranking, and the analysis makes no record different."""
    record = mixed_study()
    fresh = mixed_study()
    assert record.best_trial is not None
    assert record == fresh
    changed = dataclasses.replace(record, results=record.results[:1])
    assert changed.best_trial is record.results[0]


def test_a_pickled_record_keeps_its_analysis():
    """The processes that draw plots get the ranking, of the very results that they get."""
    record = mixed_study()
    assert record.ranked
    copy = pickle.loads(pickle.dumps(record))
    assert copy == record
    assert copy.__dict__["ranked"] == record.ranked
    assert any(copy.best_trial is result for result in copy.results)


def test_finalists_decide_once_they_have_ended():
    """The verdict is final, and the finalists decide, once all their runs have ended."""
    record = study_with_finalists()
    assert record.final_verdict is record.finalists.judged_as_finalists
    assert record.decided_finalists is record.finalists
    begun = dataclasses.replace(record.finalists, trials=7)
    unfinished = dataclasses.replace(record, finalists=begun)
    assert begun.judged_as_finalists is not None
    assert (unfinished.final_verdict, unfinished.decided_finalists) == (None, None)
