"""Decides what is next in a study, from what may be known at the time.

`Scheduler` turns the trials in the store into what the rules of `sweeps.search.promotion` compare,
and into what a sampler is shown. It reads and writes nothing.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from optuna.trial import FrozenTrial, TrialState

from sweeps.search.decisions import HEAD_STARTS, PROMOTING, WHOLE, Decision, DecisionLog
from sweeps.search.promotion import (
    FRONT_LEADERS,
    LEADERS,
    MAX_DRAWS_IN_VAIN,
    SHARE,
    Contender,
    Draw,
    End,
    Promote,
    Standing,
    Wait,
    by_rank,
    decide_within_budget,
    decide_within_total,
    expected_epochs,
    next_rung,
    projected,
    promising,
    recent_epochs,
    rungs,
    standing_within_budget,
    standing_within_total,
)
from sweeps.search.stored_trial import (
    DUPLICATE_OF,
    end_of,
    has_ended,
    has_finished,
    measured_cost,
    trained_seconds,
)
from sweeps.spec.configurations import baseline_values, given_values, lists_come_first
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import BAD_CONFIGURATION


@dataclass(frozen=True)
class Step:
    """What is next: a new trial is drawn, or a paused one goes on."""

    trial: int | None  # the number of the trial that goes on; None to draw a new one
    until: int  # the epoch until which it is trained
    at_end: bool = False  # whether a larger total would decide otherwise


class Scheduler:
    """Decides what is next in a study.

    A decision knows the results of earlier decisions only, but of the newest, as many as `window`
    says. If nothing can be decided from those, it knows of the next result, too, and so on.
    """

    def __init__(
        self,
        spec: StudySpec,
        *,
        total: int,
        version: int,
        order: int,
        window: Callable[[], int | None],
        trials: Callable[[], Sequence[FrozenTrial]],
        log: DecisionLog,
        fills_places: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the scheduler of a study.

        Args:
            spec: the study.
            total: the number of trials to draw at most.
            version: of the scheduler, as `StudyFacts` has it.
            order: the version of the order of trials, as `StudyFacts` has it.
            window: returns how many decisions, with the present one, do not know of one another's
                results; None if a decision knows all results that there are.
            trials: returns the trials of the study, by number.
            log: the decisions so far; empty and unused if the trials are trained in one go.
            fills_places: returns whether a place that would stand empty at the end of a study goes
                on with the next in rank, see `_fill`. Only if all results that there are decide.
            clock: tells the seconds.
        """
        self._spec = spec
        self._total = total
        self._lists_come_first = lists_come_first(spec, order)
        self._window_now = window
        self._trials = trials
        self._log = log
        self._sign = 1 if spec.maximize else -1
        self._leaders = FRONT_LEADERS if spec.cost else LEADERS
        self._learns_from_failures = version >= PROMOTING
        self.promotes = version >= PROMOTING and spec.pruner == "asha"
        self._whole_decisions: list[Decision] = []  # of trials that are trained in one go
        self._baselines = len(baseline_values(spec))  # configurations that are trained in one go
        # So many configurations are given to begin with, baselines included, and have a head start
        # if the budget decides.
        self._given = len(given_values(spec)) if version >= HEAD_STARTS else 0
        self._fills_places = fills_places
        self._clock = clock
        self._began: dict[int, float] = {}  # when a trial that is trained now went on, by number
        self._finished = 0  # so many decisions from the first on have finished
        self._contenders: dict[int, tuple[object, Contender]] = {}  # by number, with their facts
        self._seen: dict[int, tuple[object, FrozenTrial]] = {}  # the same for the sampler

    # Decisions

    @property
    def _window(self) -> int | None:
        return self._window_now()

    @property
    def drawn(self) -> Sequence[int]:
        """The numbers of the drawn trials, in the order of drawing."""
        if not self.promotes:
            return range(len(self.decisions))
        return self._log.drawn

    @property
    def decisions(self) -> Sequence[Decision]:
        """All decisions so far."""
        if self.promotes:
            return self._log.decisions
        # All trials that have begun. One that waits was enqueued by another program, and is next.
        trials = self._trials()
        begun = len(self._whole_decisions)
        while begun < len(trials) and trials[begun].state != TrialState.WAITING:
            self._whole_decisions.append(Decision(begun, WHOLE))
            begun += 1
        return self._whole_decisions

    def next(self) -> Step | Wait | End:
        """Return what is next, or that it is not decided before a training ends, or that all is."""
        decisions = self.decisions
        if self._window is None:
            known = self._visible(decisions)
            step = self._decide(known, at_end=self._log.at_end)
            if not isinstance(step, Step) and self.promotes and self._fills_places():
                step = self._fill(known) or step
            if isinstance(step, Step) and step.trial is not None:
                self._began[step.trial] = self._clock()
            return step
        first = self.known_count(len(decisions))
        for count in range(first, len(decisions) + 1):
            if count > self._count_finished(decisions):
                return Wait()
            # Only the end of a study makes a decision know of more results than it has to.
            step = self._decide(decisions[:count], at_end=self._log.at_end or count > first)
            if not isinstance(step, Wait):
                return step
        return End()

    def _fill(self, known: Sequence[Decision]) -> Step | None:
        """The next step of the paused trial of the lowest rank that does not prolong the study.

        It is for a place that would stand empty while others finish the leaders, so it is beyond
        the epochs that the study needs. By the times of the epochs so far, it ends before them.
        """
        is_over = len(self._log.drawn) >= self._total
        if not is_over or self._spec.repeats > 1 or self._spec.budget is not None:
            return None
        contenders = self._make_contenders(known)
        epochs = self._spec.most_epochs
        left = max(map(self._seconds_left, contenders), default=0.0)
        for one in by_rank(contenders, epochs=epochs, leaders=self._leaders):
            until = next_rung(one, rungs(epochs))
            if 0 < self._epoch_seconds(one) * (until - one.until) <= left:
                return Step(self._seeds(one.number)[0], until, at_end=True)
        return None

    def _seconds_left(self, contender: Contender) -> float:
        """The seconds until a trial in training has come to its epoch, by its epochs so far."""
        began = self._began.get(self._seeds(contender.number)[0])
        if not contender.is_training or began is None:
            return 0.0
        epochs = contender.until - len(contender.values)
        return epochs * self._epoch_seconds(contender) - (self._clock() - began)

    def _epoch_seconds(self, contender: Contender) -> float:
        """The mean time of the epochs of a trial, until its last pause."""
        trial = self._trials()[self._seeds(contender.number)[0]]
        return trained_seconds(trial) / max(1, len(contender.values))

    def known_decisions(self) -> Sequence[Decision]:
        """The decisions with results that the next one may know, the newest left out."""
        decisions = self.decisions
        if self._window is None:
            return self._visible(decisions)
        return decisions[: self.known_count(len(decisions))]

    def known_count(self, decision: int) -> int:
        """How many of the first decisions a decision may know the results of.

        Args:
            decision: its number. For a trial that is trained in one go, this is the trial's number.
        """
        if self._window is None:
            return WHOLE
        return max(0, decision + 1 - self._window)

    def _visible(self, decisions: Sequence[Decision]) -> Sequence[Decision]:
        return [decision for decision in decisions if self._has_finished(decision)]

    def _count_finished(self, decisions: Sequence[Decision]) -> int:
        """Count the decisions that have finished before the first that has not."""
        while self._finished < len(decisions) and self._has_finished(decisions[self._finished]):
            self._finished += 1
        return self._finished

    def _has_finished(self, decision: Decision) -> bool:
        return has_finished(self._trials()[decision.trial], decision.until)

    def _decide(self, known: Sequence[Decision], *, at_end: bool) -> Step | Wait | End:
        drawn = len(self.drawn)
        if not self.promotes:
            return self._decide_whole(known, drawn)
        repeats = self._spec.repeats
        if drawn % repeats and drawn < self._total:
            return Step(None, self._log.until(self._log.drawn[-1]))
        next_seed = self._next_seed()
        if next_seed is not None:
            return next_seed
        contenders = self._make_contenders(known)
        budget = self._budget(known) / repeats  # the seeds of a configuration are trained alike
        if self._pays_for_all(budget):
            return self._decide_within_total(contenders, budget, at_end=at_end)
        return self._decide_within_budget(contenders, budget, at_end=at_end)

    def _decide_whole(self, known: Sequence[Decision], drawn: int) -> Step | Wait | End:
        """Decide if trials are trained in one go: the next one is drawn, if there is room."""
        if drawn >= self._total:
            return End()
        epochs = self._spec.most_epochs
        if self._spec.budget is not None:
            seeds = 1
            if not self._lists_come_first:
                seeds = self._spec.repeats - drawn % self._spec.repeats  # of the next configuration
            used = sum(len(self._trials()[one.trial].intermediate_values) for one in known)
            left = self._budget(known) - used - seeds * epochs
            last = [self._trials()[one.trial] for one in known[-MAX_DRAWS_IN_VAIN:]]
            in_vain = [trial for trial in last if not trial.intermediate_values]
            if left < 0 or len(in_vain) == MAX_DRAWS_IN_VAIN:
                return End()
            if left < (drawn - len(known)) * epochs:
                return Wait()  # the trials in training may leave enough
        return Step(None, epochs)

    def _next_seed(self) -> Step | None:
        """The next trial of the configuration that goes on, if it has several seeds."""
        if not self._log.decisions:
            return None
        last = self._log.decisions[-1]
        for trial in self._seeds(self._log.drawn.index(last.trial) // self._spec.repeats):
            if self._log.until(trial) < last.until:
                return Step(trial, last.until, at_end=self._log.at_end)
        return None

    def _seeds(self, configuration: int) -> Sequence[int]:
        """The trials of a configuration, one for each seed."""
        first = configuration * self._spec.repeats
        return self._log.drawn[first : first + self._spec.repeats]

    @property
    def _configurations(self) -> int:
        """The number of configurations to draw at most."""
        return math.ceil(self._total / self._spec.repeats)

    @property
    def _kept_for_leaders(self) -> int:
        """The epochs that finish the leaders, once all configurations are at the first rung."""
        epochs = self._spec.most_epochs
        return self._leaders * (epochs - rungs(epochs)[0])

    def _pays_for_all(self, budget: float) -> bool:
        """Whether a budget is enough to compare all configurations, and to finish the leaders."""
        if self._spec.budget is None:
            return True
        if self._spec.has_only_budget:
            return False
        first = rungs(self._spec.most_epochs)[0]
        of_baselines = self._baselines * (self._spec.most_epochs - first)
        return self._configurations * first + of_baselines + self._kept_for_leaders <= budget

    def _decide_within_total(
        self, contenders: Sequence[Contender], budget: float, *, at_end: bool
    ) -> Step | Wait | End:
        at_end = at_end or len(self._log.drawn) >= self._total
        total = len(contenders) if at_end else self._configurations
        epochs = self._spec.most_epochs
        share = SHARE
        if self._spec.budget is not None:
            mean = float(epochs)
            if contenders:
                mean = max(1.0, statistics.fmean(one.epochs for one in contenders))
            kept = 0 if at_end else self._kept_for_leaders
            share = min(1.0, (budget - kept) / (total * mean))
        decided = decide_within_total(
            contenders, total=total, epochs=epochs, share=share, leaders=self._leaders
        )
        if isinstance(decided, Promote):
            one = contenders[decided.number]
            used = sum(contender.cost for contender in contenders)
            if used + decided.until - one.until > budget:  # for a new leader nothing was kept
                return self._decide_within_budget(contenders, budget, at_end=True)
        return self._step(decided, at_end=at_end)

    def _decide_within_budget(
        self, contenders: Sequence[Contender], budget: float, *, at_end: bool
    ) -> Step | Wait | End:
        def decide(budget: float, *, may_draw: bool) -> Draw | Promote | Wait | End:
            return decide_within_budget(
                contenders,
                budget=budget,
                epochs=self._spec.most_epochs,
                given=self._given,
                may_draw=may_draw,
            )

        unlimited = decide(math.inf, may_draw=True)
        if not at_end and len(self._log.drawn) < self._total:
            decided = decide(budget, may_draw=True)
            if decided == unlimited:
                return self._step(decided, at_end=False)
        # A trial drawn at the end would be another than that of a larger budget.
        decided = decide(budget, may_draw=False)
        return self._step(decided, at_end=at_end or decided != unlimited)

    def _step(self, decided: Draw | Promote | Wait | End, *, at_end: bool) -> Step | Wait | End:
        if isinstance(decided, Draw):
            is_baseline = len(self._log.drawn) < self._baselines * self._spec.repeats
            until = self._spec.most_epochs if is_baseline else decided.until
            return Step(None, until, at_end=at_end)
        if isinstance(decided, Promote):
            return Step(self._seeds(decided.number)[0], decided.until, at_end=at_end)
        return decided

    def _budget(self, known: Sequence[Decision]) -> float:
        """The epochs that all trials of the study may take.

        A budget in hours is converted by the mean time of the epochs so far.
        """
        budget = self._spec.budget
        if budget is None:
            return math.inf
        if budget.trainings is not None:
            return budget.trainings * self._spec.most_epochs
        trials = {decision.trial: self._trials()[decision.trial] for decision in known}
        seconds = sum(trained_seconds(trial) for trial in trials.values())
        epochs = sum(len(trial.intermediate_values) for trial in trials.values())
        if seconds == 0 or budget.seconds is None:
            return math.inf
        return budget.seconds * epochs / seconds

    # What may be known

    def reached(self, known: Sequence[Decision]) -> dict[int, int]:
        """The epoch that each trial has come to, by its number, as far as is known."""
        epochs: dict[int, int] = {}
        for decision in known:
            epochs[decision.trial] = max(decision.until, epochs.get(decision.trial, 0))
        return epochs

    def _make_contenders(self, known: Sequence[Decision]) -> list[Contender]:
        """The drawn configurations, with the results that may be known."""
        reached = self.reached(known)
        contenders = []
        for number in range(math.ceil(len(self._log.drawn) / self._spec.repeats)):
            trials = [self._trials()[trial] for trial in self._seeds(number)]
            facts = [
                (reached.get(trial.number, 0), self._log.until(trial.number), trial.state)
                for trial in trials
            ]
            cached = self._contenders.get(number)
            if cached is None or cached[0] != facts:
                until = max(self._log.until(trial.number) for trial in trials)
                contender = self._make_contender(number, trials, reached, until)
                cached = facts, contender
                self._contenders[number] = cached
            contenders.append(cached[1])
        return contenders

    def _make_contender(
        self, number: int, trials: Sequence[FrozenTrial], reached: Mapping[int, int], until: int
    ) -> Contender:
        if any(DUPLICATE_OF in trial.user_attrs for trial in trials):
            return Contender(number=number, epochs=0, until=0, values=(), ended=True, out=True)
        curves = []
        lengths = []  # of the curves that can still become longer
        is_out = False
        for trial in trials:
            epoch = reached.get(trial.number, 0)
            curve = self._best_values(trial, epoch)
            curves.append(curve)
            if has_ended(trial, epoch):
                is_out = is_out or trial.state != TrialState.COMPLETE
            else:
                lengths.append(len(curve))
        length = min(lengths) if lengths else max(map(len, curves))
        return Contender(
            number=number,
            epochs=max(_whole_epochs(trial) for trial in trials),
            until=until,
            values=_mean_curve(curves, length),
            size=self._mean_size(trials, reached),
            ended=is_out or not lengths,
            out=is_out,
        )

    def _mean_size(self, trials: Sequence[FrozenTrial], reached: Mapping[int, int]) -> float | None:
        """The cost of a configuration, as far as is known; None for a study without a cost."""
        if self._spec.cost is None:
            return None
        known = [trial for trial in trials if reached.get(trial.number, 0)]
        sizes = [measured_cost(trial, self._spec.cost) for trial in known]
        measured = [size for size in sizes if size is not None]
        return statistics.fmean(measured) if measured else math.inf

    def _best_values(self, trial: FrozenTrial, epoch: int) -> list[float]:
        """The best values so far of a trial until an epoch; more is better."""
        reports = trial.intermediate_values
        return [self._sign * reports[step] for step in sorted(reports) if step <= epoch]

    # What is told

    def standing(self, number: int) -> Standing | None:
        """The place of a paused trial's configuration, by all results that there are.

        Its value is in units of the objective. None if the configuration has further seeds that
        have not come to the same epoch.
        """
        known = self._visible(self.decisions)
        contenders = self._make_contenders(known)
        place = self.drawn.index(number) // self._spec.repeats
        if len(self._seeds(place)) < self._spec.repeats:
            return None
        if self._pays_for_all(self._budget(known) / self._spec.repeats):
            standing = standing_within_total(
                contenders,
                place,
                total=self._configurations,
                epochs=self._spec.most_epochs,
                leaders=self._leaders,
            )
        else:
            standing = standing_within_budget(contenders, place)
        if standing is None:
            return None
        return replace(standing, value=self._sign * standing.value)

    def promising(self, top: int) -> list[int]:
        """The paused trials to finish before finalists are chosen, see `promotion.promising`.

        Args:
            top: how many finalists are chosen.
        """
        trials = self._trials()
        reached = self.reached(self._visible(self.decisions))
        for number in self._log.drawn:  # also what was trained for other finalists counts
            if trials[number].state in (TrialState.COMPLETE, TrialState.FAIL):
                reached[number] = WHOLE
        contenders = []
        for number in range(math.ceil(len(self._log.drawn) / self._spec.repeats)):
            seeds = [trials[trial] for trial in self._seeds(number)]
            until = max(self._log.until(trial.number) for trial in seeds)
            contenders.append(self._make_contender(number, seeds, reached, until))
        return [
            trial
            for configuration in promising(contenders, top=top)
            for trial in self._seeds(configuration)
        ]

    def expected_epochs(self) -> float | None:
        """The epochs that all trials will take; None if that is not known before the end."""
        if not self.promotes:
            return None
        epochs = self._spec.most_epochs
        if self._spec.budget is not None:
            budget = self._budget(self._visible(self.decisions))
            return None if math.isinf(budget) else min(budget, self._total * epochs)
        return self._spec.repeats * expected_epochs(
            total=self._configurations,
            epochs=epochs,
            leaders=self._leaders + self._baselines,
        )

    def seen(self, known: Sequence[Decision], *, before: int | None) -> list[FrozenTrial]:
        """The trials as a sampler sees them.

        A trial with a result that is not known appears as running: the sampler keeps away from its
        values. A paused trial appears as pruned at its epoch, with its values until then. A trial
        that diverged, or needed too much memory, appears as pruned without a value, which is worse
        than any other: the sampler learns not to go there.

        If the study has two objectives, a trial has two values: the objective, and the logarithm of
        the cost. Samplers of two objectives read no values of pruned trials, so a paused one
        appears as complete, with its projected value.

        Args:
            known: the decisions with known results.
            before: trials from this number on are left out; None if none is.
        """
        reached = self.reached(known)
        drawn = [number for number in self.drawn if before is None or number < before]
        trials = [self._trials()[number] for number in drawn]
        return [
            self._as_seen(trial, reached.get(trial.number, 0))
            for trial in trials
            if not (self.promotes and DUPLICATE_OF in trial.user_attrs)
        ]

    def _as_seen(self, trial: FrozenTrial, epoch: int) -> FrozenTrial:
        facts = (epoch, trial.state)
        cached = self._seen.get(trial.number)
        if cached is None or cached[0] != facts:
            cached = facts, self._change_to_seen(trial, epoch)
            self._seen[trial.number] = cached
        return cached[1]

    def _change_to_seen(self, trial: FrozenTrial, epoch: int) -> FrozenTrial:
        if has_ended(trial, epoch):
            if self._learns_from_failures and _is_bad_configuration(trial):
                return _changed(trial, TrialState.PRUNED, {})
            if self._spec.cost is None or trial.state == TrialState.FAIL:
                return trial
            return self._with_both_values(trial, trial.values)
        if epoch in (0, WHOLE):
            return _changed(trial, TrialState.RUNNING, {})
        reports = {step: v for step, v in trial.intermediate_values.items() if step <= epoch}
        if self._spec.cost is None:
            return _changed(trial, TrialState.PRUNED, reports)
        return self._with_both_values(trial, self._projected_value(trial, epoch))

    def _with_both_values(self, trial: FrozenTrial, value: Sequence[float] | None) -> FrozenTrial:
        """Copy a trial as a complete one, with both objectives.

        Args:
            trial: the trial.
            value: of the first objective, in a list; None or empty if it is not known.
        """
        cost = measured_cost(trial, str(self._spec.cost))
        if not value or not cost:
            return _changed(trial, TrialState.PRUNED, {})
        changed = _changed(trial, TrialState.COMPLETE, {})
        changed.values = [value[0], math.log(cost)]
        return changed

    def _projected_value(self, trial: FrozenTrial, epoch: int) -> list[float]:
        """The value by which a paused trial is compared for promotion; empty if there is none."""
        values = self._best_values(trial, epoch)
        if not values:
            return []
        paused = Contender(
            number=trial.number, epochs=_whole_epochs(trial), until=epoch, values=values
        )
        return [self._sign * projected(paused, epoch, recent_epochs(self._spec.most_epochs))]


def _is_bad_configuration(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and end_of(trial) in BAD_CONFIGURATION


def _changed(trial: FrozenTrial, state: TrialState, reports: dict[int, float]) -> FrozenTrial:
    """Copy a trial with another state, and with fewer reports."""
    changed = copy.copy(trial)
    changed.state = state
    changed.values = None
    changed.intermediate_values = reports
    return changed


def _whole_epochs(trial: FrozenTrial) -> int:
    """The epochs of a trial's whole training."""
    return int(trial.user_attrs["config"]["epochs"])


def _mean_curve(curves: Sequence[Sequence[float]], length: int) -> list[float]:
    """The mean of several curves; a shorter one keeps its last value."""
    if not all(curves):
        return []
    return [
        statistics.fmean(curve[min(index, len(curve) - 1)] for curve in curves)
        for index in range(length)
    ]
