"""The first of a study once more: which, as what study, and what is said of them."""

import dataclasses
import json
import random

import pytest
from support.records import (
    MIXED,
    first_right,
    make_record,
    make_result,
    sample_config,
    with_bits,
)

from pipeline.report import answer as answering
from pipeline.report import finalists as verdict
from pipeline.report import formats, render, terminal, winner
from pipeline.report.ranked import ranked_table
from pipeline.report.scores import signed
from sweeps.analysis.facts import ChosenFinalists, StoredSpec, StudyFacts
from sweeps.analysis.finalists import choose_finalists, seeds_are_free, study_document
from sweeps.analysis.intervals import wilson_interval
from sweeps.spec.configurations import configuration, planned_values, total_trials
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import Repeats, StudySpec
from sweeps.trial import FAILED, PRUNED, RUNNING

LR = Dimension(field="lr", choices=(0.1, 0.01, 0.001))
HOSTILE = ("<b>fett", "=cmd()", "\x1b[31mred", "a$b^$c", "猫")


def searched(results, *, seed=0, repeats=1, **options):
    """A study of the results, with what `choose_finalists` reads of how it was made."""
    found = make_record(results, **options)
    return dataclasses.replace(
        found, spec=StoredSpec(seed=seed, repeats=repeats), facts=StudyFacts(runtime={"threads": 2})
    )


def test_the_best_baseline_is_a_finalist():
    """The best baseline is trained again beside the first ones, and reports name it and its distance."""
    results = [make_result(n, 0.9 - 0.1 * n, lr=lr) for n, lr in enumerate((0.1, 0.01, 0.001))]
    found = searched(results, dimensions=[LR])
    found = dataclasses.replace(found, facts=StudyFacts(baselines=({"lr": 0.001}, {"lr": 0.01})))
    assert choose_finalists(found, top=1, seeds=3).trials == (0, 1)
    assert choose_finalists(found, top=2, seeds=3).trials == (0, 1)
    answer = answering.answer(found)
    assert answer.certainty[0].startswith("The best baseline (trial 1, lr 0.01")
    assert answer.certainty[0].endswith("has 80.00 % (1 seed), 10.00 points behind.")
    assert ("ahead of the best baseline by", "10.00 points, not told apart") in answer.figures
    notes = {row["trial"]: row["notes"] for row in ranked_table(found).rows}
    assert notes == {0: "", 1: "baseline", 2: "baseline"}

    values = {0.1: (0.91, 0.9), 0.01: (0.81, 0.8)}
    judged = dataclasses.replace(found, finalists=again(values, test=0.88))
    answer = answering.answer(judged)
    assert ("ahead of the best baseline by", "10.00 points") in answer.figures
    first = answer.certainty[0]
    assert first.startswith(
        "Against the best baseline, lr 0.01, 80.50 ± 0.71 % (2 seeds): difference +10.00 points"
    )
    assert first.endswith(
        "On the test images the baseline has 88.00 %, the winner 88.00 % (+0.00 points)."
    )
    assert "lr 0.01 (baseline)" in render.render(judged, "md")
    assert "gone on since they were chosen" not in render.render(judged, "md")
    best = dataclasses.replace(found, facts=StudyFacts(baselines=({"lr": 0.1},)))
    assert answering.answer(best).certainty[0].endswith("the search has found nothing better.")
    assert ("ahead of the best baseline by", "nothing") in answering.answer(best).figures


def again(values, *, objective="val_acc", maximize=True, test=None, images=1000, **options):
    """Finalists: for each learning rate the values of its seeds; None for one that diverged.

    Of accuracies, the images that are right are known: the first ones. Of losses, how the batches
    differ.
    """
    results = [
        make_result(
            number,
            value,
            state=FAILED if value is None else "complete",
            lr=lr,
            seed=10 + seed,
            predicted=(images,),
            classes=1,
            test=None if test is None or value is None else {"acc": test, "images": 2 * images},
            **options,
        )
        for number, (lr, seed, value) in enumerate(
            (lr, seed, value) for lr, of in values.items() for seed, value in enumerate(of)
        )
    ]
    results = [_with_error(result, objective, images) for result in results]
    found = make_record(results, dimensions=[LR], objective=objective, maximize=maximize)
    return dataclasses.replace(found, name="test.finalists", trials=len(results))


def _with_error(result, objective, images):
    if result.value is None:
        return result
    if objective == "val_acc":
        return with_bits(result, first_right(result.value, images))
    history = tuple(
        dataclasses.replace(row, metrics={**row.metrics, "val/loss_std": 0.01})
        for row in result.history
    )
    return dataclasses.replace(result, history=history)


def judged(finalists):
    """The verdict on finalists."""
    return finalists.judged_as_finalists


def said(finalists, **options):
    """The lines under the table of a study whose finalists these are."""
    firsts = {
        t.config.lr: make_result(n, 0.9, lr=t.config.lr) for n, t in enumerate(finalists.results)
    }
    record = make_record(firsts.values(), dimensions=[LR], **options)
    return verdict.section(dataclasses.replace(record, finalists=finalists)).lines


def test_the_first_complete_configurations_are_chosen_with_seeds_of_their_own():
    """What was pruned or failed is none of them, and no seed is one that the study used."""
    results = [
        make_result(0, 0.90, lr=0.1, seed=5),
        make_result(1, 0.95, lr=0.1, seed=6),
        make_result(2, 0.99, lr=0.01, seed=5, state=PRUNED),
        make_result(3, 0.80, lr=0.001, seed=5),
        make_result(4, None, lr=0.3, seed=5, state=FAILED),
    ]
    chosen = choose_finalists(searched(results, seed=5, repeats=2), top=3, seeds=4)
    assert list(chosen.trials) == [1, 3]
    assert [config["lr"] for config in chosen.configs] == [0.1, 0.001]
    spec = StudySpec.model_validate(study_document(chosen))
    made = [
        configuration(spec, point, repeat).seed
        for point in planned_values(spec)
        for repeat in range(4)
    ]
    assert made == [7, 8, 9, 10] * 2
    stored = json.loads(json.dumps(dataclasses.asdict(chosen)))
    assert ChosenFinalists.from_dict(stored) == chosen


@pytest.mark.parametrize(
    ("redraw", "expected"),
    [
        ("split_seeds", ["draw-7", "draw-8", "draw-9"]),
        ("folds", ["fold-1-of-3", "fold-2-of-3", "fold-3-of-3"]),
        (None, [None] * 3),
    ],
)
def test_finalists_have_draws_of_their_own(redraw, expected):
    """Each repeat has its fold, a draw that the search did not have, or the search's splits, not the chosen trial's."""
    results = [make_result(n, 0.9, lr=0.1, seed=5 + n, redraw=f"draw-{5 + n}") for n in range(2)]
    study = searched(results, seed=5, repeats=2)
    chosen = choose_finalists(study, top=1, seeds=3, redraw=redraw)
    spec = StudySpec.model_validate(study_document(chosen))
    (point,) = planned_values(spec)
    assert [configuration(spec, point, repeat).redraw for repeat in range(3)] == expected
    assert (spec.repeats, total_trials(spec)) == (3, 3)
    stored = json.loads(json.dumps(dataclasses.asdict(chosen)))
    assert ChosenFinalists.from_dict(stored) == chosen
    assert chosen.repeats == Repeats(3, redraw)


def test_seeds_stay_within_their_bounds():
    """Behind the last seed that there is come those before the study's."""
    chosen = choose_finalists(searched([make_result(0, 0.9)], seed=2**31 - 1), top=1, seeds=3)
    assert StudySpec.model_validate(study_document(chosen)).seed == 2**31 - 4


def test_a_minimised_study_has_its_lowest_first():
    """Of losses the lowest are chosen."""
    results = [
        make_result(number, value, lr=lr)
        for number, (lr, value) in enumerate([(0.1, 0.3), (0.01, 0.1)])
    ]
    study = searched(results, objective="val_loss", maximize=False)
    assert list(choose_finalists(study, top=1, seeds=1).trials) == [1]


@pytest.mark.parametrize("case", range(20))
def test_the_same_configurations_are_trained(case):
    """Whatever was searched, under whatever conditions: each is the chosen one in all but the seed."""
    rng = random.Random(case)
    configs = [sample_config(rng) for _ in range(rng.randint(1, 5))]
    results = [
        make_result(number, rng.random(), config=config) for number, config in enumerate(configs)
    ]
    chosen = choose_finalists(searched(results, dimensions=MIXED), top=5, seeds=2)
    spec = StudySpec.model_validate(study_document(chosen))
    made = [configuration(spec, point) for point in planned_values(spec)]
    kept = [results[number].config for number in chosen.trials]
    assert [config.group for config in made] == [config.group for config in kept]
    assert total_trials(spec) == 2 * len(kept)
    assert {config.threads for config in made} == {2}


def test_another_device_is_asked_for():
    """The device may be another than the study's; all else that was settled for it stays."""
    chosen = choose_finalists(searched([make_result(0, 0.9)]), top=1, seeds=1)
    fixed = study_document(chosen, "mps")["fixed"]
    assert (fixed["device"], fixed["threads"]) == ("mps", 2)


def test_the_winner_has_the_best_mean():
    """Not the best seed decides, but the mean; spread and test accuracy stand beside it."""
    found = judged(again({0.1: [0.91, 0.92, 0.93], 0.01: [0.80, 0.99, 0.90]}, test=0.9))
    assert [one.trial.config.lr for one in found.finalists] == [0.1, 0.01]
    assert found.winner.value.mean == pytest.approx(0.92)
    assert found.winner.value.spread == pytest.approx(0.01)
    assert (found.winner.test.mean, found.winner.test.seeds) == (pytest.approx(0.9), 3)
    assert found.final


def test_a_clear_lead():
    """Where the interval leaves out 0, nobody is undecided, and no cheaper one is recommended."""
    found = judged(again({0.1: [0.95, 0.96, 0.97], 0.01: [0.90, 0.911, 0.92]}))
    assert found.finalists[1].against.outcome == "ahead"
    assert found.sole
    assert found.undecided == found.equal == found.behind == ()
    assert found.cheapest is None


def test_the_interval_covers_all_pairs_of_the_finalists():
    """The more finalists there are, the wider is the interval of the same two."""
    two = {0.1: [0.95, 0.96, 0.97], 0.01: [0.90, 0.91, 0.92]}
    three = {**two, 0.001: [0.5, 0.51, 0.52]}
    pair = judged(again(two)).finalists[1].against
    among = judged(again(three)).finalists[1].against
    assert (pair.configurations, among.configurations) == (2, 3)
    assert among.half_width > 1.1 * pair.half_width
    assert "all pairs of the 3 finalists together" in "".join(said(again(three)))


def test_one_seed_tells_nothing():
    """With one seed each, any difference may be noise."""
    found = judged(again({0.1: [0.99], 0.01: [0.10]}))
    assert found.finalists[1].against.outcome == "open"
    assert (
        "difference +89.00 points of one seed each: which is better is not known."
        in said(again({0.1: [0.99], 0.01: [0.10]}))[1]
    )


def test_equal_values():
    """No difference at all: the earlier stands first, and whether both are equal depends on what seeds do."""
    found = judged(again({0.1: [0.9, 0.8], 0.01: [0.9, 0.8]}))
    assert found.winner.trial.config.lr == 0.1
    assert found.finalists[1].against.difference == 0
    assert found.undecided == found.finalists[1:]
    assert judged(again({0.1: [0.9, 0.9], 0.01: [0.9, 0.9]})).equal != ()


def test_lower_is_better_where_it_is_minimised():
    """The winner's lower loss is a positive difference: it is by so much better."""
    found = judged(
        again({0.1: [0.5, 0.51, 0.5], 0.01: [0.1, 0.11, 0.1]}, objective="val_loss", maximize=False)
    )
    assert found.winner.trial.config.lr == 0.01
    assert found.finalists[1].against.difference == pytest.approx(0.4)
    assert found.finalists[1].against.outcome == "ahead"


def test_a_seed_that_diverged_is_missing_on_one_side():
    """A finalist with a seed that diverged stands last, and is compared by the seeds that it has."""
    finalists = again({0.1: [0.99, None, 0.98], 0.01: [0.9, 0.91, 0.92]})
    found = judged(finalists)
    assert found.winner.trial.config.lr == 0.01
    assert found.finalists[1].against.seeds == (3, 2)
    assert "(2 complete, 1 diverged)" in said(finalists)[1]


@pytest.mark.parametrize("objective", ["val_acc", "val_loss"])
def test_a_failed_seed_does_not_make_the_winner_better(objective):
    """One that did better with its other seeds is placed behind for its failed seed, and never called beaten."""
    maximize = objective == "val_acc"
    values = {0.1: [0.90, 0.901, 0.902], 0.01: [0.95, 0.952, None]}
    if not maximize:
        values = {lr: [value and 1 - value for value in of] for lr, of in values.items()}
    finalists = again(values, objective=objective, maximize=maximize)
    found = judged(finalists)
    assert [one.trial.config.lr for one in found.finalists] == [0.1, 0.01]
    (other,) = found.behind
    assert (found.undecided, found.equal, found.sole) == ((), (), False)
    assert other.against.difference == pytest.approx(-0.05)
    line = said(finalists, objective=objective, maximize=maximize)[1]
    assert line.endswith("): worse beyond chance.")
    (doubt,) = verdict.doubts(found)
    assert doubt.startswith("Place 2 did better than the winner, and is placed behind because not")


def test_who_has_no_complete_seed_is_not_beaten():
    """Where no seed of a finalist is complete, it is said that it cannot be compared; one seed tells nothing."""
    found = judged(
        again({0.1: [0.99, 0.98, 0.97], 0.01: [None, None, None], 0.001: [0.9, None, None]})
    )
    assert [one.against and one.against.outcome for one in found.finalists] == [None, "open", None]
    assert verdict.doubts(found) == [
        "Place 2 is not told apart from the winner by these runs.",
        "Place 3 cannot be compared with the winner: no seed of it is complete.",
    ]


def test_those_not_told_apart_are_named_by_place():
    """Not how many but which are not told apart, or equal, is said."""
    found = judged(
        again({0.1: [0.9, 0.92, 0.91], 0.01: [0.8, 0.82, 0.81], 0.001: [0.95, 0.86, 0.89]})
    )
    assert verdict.doubts(found) == ["Place 2 is not told apart from the winner by these runs."]
    equal = judged(again({0.1: [0.9] * 3, 0.01: [0.8] * 3, 0.001: [0.899] * 3, 0.003: [0.9] * 3}))
    assert verdict.doubts(equal) == ["Places 2 and 3 are equal to the winner in practice."]
    assert verdict.doubts(judged(again({0.1: [0.95, 0.96, 0.97], 0.01: [0.9, 0.91, 0.92]}))) == []


def test_an_open_difference_says_what_would_decide():
    """Beside the interval stands what it rests on, and how many more seeds or images would tell."""
    values = {0.1: [0.95, 0.96, 0.97], 0.01: [0.945, 0.955, 0.965]}
    finalists = again(values)
    needs = judged(finalists).finalists[1].against.needs
    assert needs.seeds > 1
    line = said(finalists)[1]
    assert "95 % interval -1." in line
    assert ", 3 seeds, 1,000 images, of 2 configurations): not told apart; " in line
    assert f"; {needs.seeds} more seeds of each" in line
    assert line.endswith(" would decide, if the difference stays as it is.")


def test_the_images_were_those_of_the_search():
    """An interval over the validation images is of images by which the search had chosen."""
    values = {0.1: [0.95, 0.96, 0.97], 0.01: [0.90, 0.911, 0.92]}
    sentence = (
        "The validation images are those of the search, which chose the finalists by them: "
        "other images may rank them otherwise."
    )
    assert sentence in said(again(values))
    assert sentence not in said(again({0.1: [0.9], 0.01: [0.8]}))  # without any interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "+0.2500"),
        (0.00003, "+0.00003"),
        (-0.00003, "-0.00003"),
        (0.0, "+0.0000"),
        (-1e-17, "+0.0000"),
    ],
)
def test_a_sign_is_visible(value, text):
    """A difference that is not 0 is not shown as 0."""
    assert signed(value) == text


def test_a_verdict_stands_before_that_of_the_search():
    """Once finalists have decided, their verdict is read first, and the search's lead is said to be the search's."""
    finalists = again({0.1: [0.95, 0.96, 0.97], 0.01: [0.90, 0.911, 0.92]})
    record = make_record(
        [make_result(0, 0.8, lr=0.1), make_result(1, 0.9, lr=0.01)], dimensions=[LR]
    )
    for shown in ("table", "md"):
        text = render.render(dataclasses.replace(record, finalists=finalists), shown)
        assert 0 < text.index("Winner: lr 0.1") < text.index("In the search: lr 0.01")
        begun = dataclasses.replace(finalists, trials=9)
        text = render.render(dataclasses.replace(record, finalists=begun), shown)
        assert 0 < text.index("90.00 % (1 seed) against") < text.index("Not final")


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        ("val_acc", "Difference: the winner's objective less the other's"),
        ("val_loss", "Difference: the other's objective less the winner's"),
    ],
)
def test_a_difference_is_positive_where_the_winner_is_better(objective, text):
    """Of losses, it is the other's that is larger, and the text says which is taken from which."""
    maximize = objective != "val_loss"
    best = 0.1 if maximize else 0.01
    values = {0.1: [0.95, 0.96, 0.97], 0.01: [0.90, 0.911, 0.92]}
    record = make_record(
        [make_result(0, 0.8, lr=0.1), make_result(1, 0.9, lr=0.01)], dimensions=[LR]
    )
    finalists = again(values, objective=objective, maximize=maximize)
    record = dataclasses.replace(
        record, objective=objective, maximize=maximize, finalists=finalists
    )
    lines = verdict.verdict_lines(record)
    shown = "+4.97 points" if maximize else "+0.0497"
    assert lines[0].startswith(f"Winner: lr {best:g}")
    assert any(f"difference {shown}" in line for line in lines)
    assert any(line.startswith(text) for line in lines)


def test_the_winner_in_detail_leaves_the_lead_to_the_finalists():
    """Once finalists have decided, the lead of the search is left out, and theirs is told."""
    finalists = again({0.1: [0.95, 0.96, 0.97], 0.01: [0.90, 0.911, 0.92]}, test=0.9)
    record = make_record(
        [make_result(0, 0.8, lr=0.1), make_result(1, 0.9, lr=0.01)], dimensions=[LR]
    )
    detail = winner.winner_detail(dataclasses.replace(record, finalists=finalists))
    assert detail["first_against_second"] is None
    assert any(line.endswith("better beyond chance.") for line in detail["finalists"])
    assert detail["test"].endswith(
        "scored after the choice, which was made on the validation split alone."
    )


def test_a_finalist_that_failed_with_every_seed():
    """It is named with how it ended, and compared with nothing."""
    lines = said(again({0.1: [None, None], 0.01: [0.9, 0.91]}))
    assert "Place 2: no seed is complete (2 diverged)." in lines


def test_none_complete():
    """Without a complete run nothing is judged, and the command that goes on is named."""
    assert judged(again({0.1: [None]})) is None
    assert said(again({0.1: [None]})) == ("No finalist is complete yet: pipeline finalists test",)


def test_a_single_finalist_wins():
    """One finalist has nobody to be tied with; its fields name it."""
    lines = said(again({0.1: [0.9, 0.92]}, test=0.9))
    test = "90.00 ± 0.00 % (2 seeds), 95 % interval 88.61 to 91.24 % over seeds and images"
    # Wilson's interval of 2,000 images: the seeds do not differ.
    assert wilson_interval(0.9, 2000) == pytest.approx((0.8861, 0.9124), abs=1e-4)
    assert lines[0] == (
        f"Winner: lr 0.1, mean val_acc 91.00 ± 1.41 % (2 seeds); test accuracy {test}."
    )
    assert not any("apart" in line for line in lines)


def test_unfinished_finalists_are_no_verdict():
    """While runs are still to come it says so, and the winner of the search stays the winner."""
    finalists = again({0.1: [0.9, 0.92], 0.01: [0.8, 0.81]})
    running = dataclasses.replace(finalists.results[3], state=RUNNING, value=None)
    finalists = dataclasses.replace(finalists, results=(*finalists.results[:3], running))
    assert (
        said(finalists)[0]
        == "Not final: 3 of 4 runs have ended; go on with: pipeline finalists test"
    )
    record = make_record([make_result(0, 0.9)])
    assert dataclasses.replace(record, finalists=finalists).decided_finalists is None
    assert record.decided_finalists is None


def test_the_gap_counts_images_once():
    """Its interval is that of one network with the mean accuracies, however many seeds there are."""
    few, many = (judged(again({0.1: [0.9] * seeds}, test=0.88)).winner.gap for seeds in (2, 5))
    assert dataclasses.astuple(few) == pytest.approx(dataclasses.astuple(many))
    assert (few.difference, few.val_images, few.test_images) == (pytest.approx(0.02), 1000, 2000)
    assert few.by_chance
    assert not judged(again({0.1: [0.9]}, test=0.88, images=100_000)).winner.gap.by_chance


def test_without_test_scores_there_is_no_gap():
    """What is not scored yet is said to be so."""
    assert judged(again({0.1: [0.9]})).winner.gap is None
    assert "Not all is scored on the test split yet: pipeline finalists test" in said(
        again({0.1: [0.9]})
    )


COSTS = {0.1: (2.0, 30), 0.01: (1.0, 20), 0.001: (1.0, 10)}


def priced(finalists, costs=COSTS):
    """Finalists with the operations and the parameters of each."""
    results = tuple(
        dataclasses.replace(
            trial, mflops=costs[trial.config.lr][0], parameters=costs[trial.config.lr][1]
        )
        for trial in finalists.results
    )
    return dataclasses.replace(finalists, results=results)


def test_the_cheapest_of_those_no_worse():
    """Of those that are equal in practice the one with the fewest operations is named, of equal ones the smaller."""
    finalists = again({0.1: [0.92] * 2, 0.01: [0.9195] * 2, 0.001: [0.919] * 2}, images=2000)
    lines = said(priced(finalists))
    sentence = (
        "Place 3 is the cheapest of those known to be less than 1 point worse than the winner: "
        "10 parameters, 1 MFLOPs an image."
    )
    assert sentence in lines
    dear = {lr: (1 / mflops, parameters) for lr, (mflops, parameters) in COSTS.items()}
    lines = said(priced(finalists, dear))
    assert any(line.startswith("The winner is the cheapest of those that are no") for line in lines)


def test_what_is_not_told_apart_is_not_recommended():
    """That a difference was not seen is no reason to take the cheaper one: it may be worse."""
    finalists = priced(again({0.1: [0.95, 0.96, 0.97], 0.01: [0.945, 0.955, 0.965]}))
    assert judged(finalists).cheapest is None
    assert not any("cheapest" in line for line in said(finalists))


def test_a_study_that_has_gone_on_since():
    """Where others are the study's first by now, the reader is told."""
    finalists = again({0.1: [0.9, 0.91]})
    record = make_record(
        [make_result(0, 0.8, lr=0.1), make_result(1, 0.9, lr=0.01)], dimensions=[LR]
    )
    lines = verdict.section(dataclasses.replace(record, finalists=finalists)).lines
    assert any("gone on" in line for line in lines)
    assert not any("gone on" in line for line in said(finalists))


def test_the_table_has_a_line_for_each():
    """Place, configuration, means, gap with its interval, difference and the value in the search."""
    finalists = again({0.1: [0.92, 0.90], 0.01: [0.91, 0.90]}, test=0.9)
    record = make_record(
        [make_result(0, 0.95, lr=0.1), make_result(1, 0.94, lr=0.01)], dimensions=[LR]
    )
    grid = verdict.section(dataclasses.replace(record, finalists=finalists)).grid
    assert grid.rows[1] == (
        *("2", "lr 0.01", "90.50 ± 0.71 %", "90.00 ± 0.00 %", "+0.50 (-1.83 to +2.67)"),
        *("+0.50 points, not told apart", "94.00 %"),
    )


def test_values_are_json():
    """The figures of the JSON files are exact, and hold no NaN."""
    finalists = again({0.1: [0.92, 0.90], 0.01: [None, None]}, test=0.9)
    record = make_record(
        [make_result(0, 0.95, lr=0.1), make_result(1, 0.94, lr=0.01)], dimensions=[LR]
    )
    found = json.loads(
        formats.json_text(verdict.finalist_values(dataclasses.replace(record, finalists=finalists)))
    )
    assert (found["winner"], found["final"]) == ("lr 0.1", True)
    assert (found["not_told_apart"], found["equal_in_practice"]) == ([], [])
    assert [row["winner_less_this"] for row in found["finalists"]] == [None, None]
    assert [row["mean"] for row in found["finalists"]] == [pytest.approx(0.91), None]
    assert (
        found["finalists"][0]["gap"]["low"]
        < found["finalists"][0]["gap"]["difference"]
        == pytest.approx(0.01)
    )
    assert verdict.finalist_values(record) is None


def test_a_difference_as_values():
    """The figures of a comparison are whole in the JSON files: interval, basis, outcome and what would decide."""
    finalists = again({0.1: [0.95, 0.96, 0.97], 0.01: [0.945, 0.955, 0.965]})
    record = make_record([make_result(0, 0.95, lr=0.1)], dimensions=[LR])
    found = verdict.finalist_values(dataclasses.replace(record, finalists=finalists))
    values = found["finalists"][1]["winner_less_this"]
    against = judged(finalists).finalists[1].against
    assert (values["low"], values["high"]) == (against.low, against.high)
    assert (values["seeds"], values["images"], values["configurations"]) == ([3, 3], 1000, 2)
    assert (values["outcome"], values["rope"]) == ("open", 0.01)
    assert (values["further_seeds"], values["further_images"]) == (
        against.needs.seeds,
        against.needs.images,
    )
    assert found["not_told_apart"] == ["lr 0.01"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_as_they_are(name):
    """Neither a study's nor a family's name reaches a terminal or a page as anything but text."""
    finalists = again({0.1: [0.92], 0.01: [0.9]})
    results = tuple(
        dataclasses.replace(t, end=name, state=FAILED, value=None) for t in finalists.results[1:]
    )
    finalists = dataclasses.replace(finalists, results=(finalists.results[0], *results))
    record = make_record([make_result(0, 0.9, lr=0.1)], dimensions=[LR])
    record = dataclasses.replace(record, name=name, finalists=finalists)
    assert "\x1b" not in terminal.render_finalists(record, 80)
    assert "<b>" not in "".join(formats.markdown_section(verdict.section(record)))


def test_a_narrow_terminal_cuts_no_number():
    """In 80 columns cells give way by breaking, not by losing digits."""
    finalists = again({0.1: [0.92, 0.90], 0.01: [0.91, 0.90]}, test=0.9)
    record = make_record(
        [make_result(0, 0.95, lr=0.1), make_result(1, 0.94, lr=0.01)], dimensions=[LR]
    )
    table = terminal.render_finalists(
        dataclasses.replace(record, finalists=finalists), 80
    ).splitlines()[1:12]
    assert max(map(len, table[:6])) <= 80
    assert "91.00" in "\n".join(table)
    assert "…" not in "\n".join(table)


def test_seeds_that_are_added_are_neither_used_nor_out_of_bounds():
    """Finalists' seeds come after the study's, as many as there are, or before, where none is free after."""
    first = searched([make_result(0, 0.9)], seed=5, repeats=2)
    assert seeds_are_free(first, choose_finalists(first, top=1, seeds=50))
    last = searched([make_result(0, 0.9)], seed=2**31 - 4)
    chosen = choose_finalists(last, top=1, seeds=3)
    assert seeds_are_free(last, chosen)
    assert not seeds_are_free(last, dataclasses.replace(chosen, seeds=4))
    before = searched([make_result(0, 0.9)], seed=2**31 - 1)
    chosen = choose_finalists(before, top=1, seeds=3)
    assert seeds_are_free(before, chosen)
    assert not seeds_are_free(before, dataclasses.replace(chosen, seeds=4))
