"""A study as read back from its store, and its analysis."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import models
from sweeps.analysis.difference import (
    DEFAULT_ROPE,
    Comparison,
    Difference,
    Sample,
    make_sample,
)
from sweeps.analysis.facts import Refit, StoredSpec, StudyFacts
from sweeps.analysis.front import Choice, Front, choose, find_front
from sweeps.analysis.looks import Looks, count_looks
from sweeps.analysis.naming import differing_fields
from sweeps.analysis.ranking import Ranked, RankingRule, has_all_seeds, rank
from sweeps.analysis.verdict import Verdict, judge_finalists
from sweeps.spec.dimension import Dimension
from sweeps.spec.reference import Reference
from sweeps.spec.study_spec import MAX_TRIALS
from sweeps.trial import COMPLETE, PAUSED, PRUNED, RUNNING, TrialConfig, TrialResult, Value


@dataclass(frozen=True, kw_only=True)
class Promotions:
    """How often the trials of a study were paused and went on."""

    promotions: int
    pauses: int
    expected_epochs: float | None = None  # that all trials will take; None if it is not known


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The first-ranked configuration beside the second."""

    first: Ranked
    second: Ranked
    differing: tuple[str, ...]  # the searched fields in which they differ
    difference: Difference


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A study as read back from its store: the search space, the results and their analysis.

    The analysis (ranking, lead, verdict) is computed once, when it is first used. A pickled record
    includes it, so that the processes for the plots need not rank the study again.
    """

    name: str  # in the stores
    study: str  # the study file's name
    dataset: str
    objective: str  # val_acc, ...
    maximize: bool
    trials: int  # the declared total
    dimensions: tuple[Dimension, ...]
    classes: tuple[str, ...]  # the true class names
    results: tuple[TrialResult, ...]  # by trial number; includes running trials
    parent_run_id: str | None = None
    budget: str | None = None  # what all trials may take together, as in a study file
    promoted: Promotions | None = None  # None for a study without promotion
    method: str = "tpe"
    keep_checkpoints: str = "each"
    # Half the region of practical equivalence, as the study says; None for the default.
    rope: float | None = None
    # Differences from the study file. The published figures may then be of something else.
    deviations: str = ""
    reference: tuple[Reference, ...] = ()  # published figures
    # Images that the best trial mistakes: PNG in base64, by the image's index.
    thumbnails: Mapping[int, str] = field(default_factory=dict)
    spec: StoredSpec = field(default_factory=StoredSpec)  # what it was made with
    facts: StudyFacts = field(default_factory=StudyFacts)  # what was resolved then
    # Why the last sweep ended, as returned by `sweeps.search.loop.run`; None while it runs.
    reason: str | None = None
    command: str = ""  # continues the study
    finalists_wanted: bool = False  # whether that command trains finalists after the search
    # The study's top configurations, trained again with fresh seeds.
    finalists: StudyRecord | None = None
    # How often networks were scored on the test split, for `count_looks`.
    counted_looks: Mapping[str, int] = field(default_factory=dict)
    refit: Refit | None = None  # only of a study of finalists

    @property
    def has_only_budget(self) -> bool:
        """Whether a budget alone says how many trials are drawn."""
        return self.budget is not None and self.trials >= MAX_TRIALS

    @property
    def ended(self) -> int:
        """The number of ended trials."""
        return sum(result.has_ended for result in self.results)

    @property
    def paused(self) -> tuple[TrialResult, ...]:
        """The paused trials as the study ranks them; those without a value last."""
        paused = [result for result in self.results if result.state == PAUSED]
        return tuple(sorted(paused, key=self.ranking_rule.trial_key))

    @property
    def epochs_trained(self) -> int:
        """The epochs of all trainings so far, until the last pause of those that are under way."""
        return sum(len(one.history) for one in self.results if one.duplicate_of is None)

    @property
    def whole_epochs(self) -> int:
        """The epochs if all trials had been trained to their end.

        A trial that failed, or ended before its last epoch, counts as it is.
        """
        unfinished = (PRUNED, PAUSED, RUNNING)
        trained = [one for one in self.results if one.duplicate_of is None and one.history]
        return sum(
            one.config.epochs if one.state in unfinished else len(one.history) for one in trained
        )

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to train."""
        if self.ended < len(self.results):
            return False
        used_up = self.budget is not None and self.reason == "done"
        return used_up or self.ended >= self.trials

    @cached_property
    def applying(self) -> tuple[Dimension, ...]:
        """The dimensions that apply to one of the study's families at least.

        Nothing of the user's is loaded: whether a network of the user's own takes a field is known
        by its trials, and supposed as long as there are none.
        """
        families = self._families
        if not families:
            return self.dimensions
        constant = self._constant
        return tuple(
            dimension
            for dimension in self.dimensions
            if any(
                dimension.may_apply(
                    family, takes=self._takes(family, dimension.field), constant=constant
                )
                for family in families
            )
        )

    @property
    def _constant(self) -> dict[str, Value | None]:
        """What decides whether dimensions apply, and is one value in all trials."""
        deciding = {name for dimension in self.dimensions for name in dimension.needs}
        constant = {}
        for name in deciding.difference(dimension.field for dimension in self.dimensions):
            values = {result.config.value(name) for result in self.results}
            if name in self.spec.fixed:
                values = {self.spec.fixed[name]}
            if len(values) == 1:
                constant[name] = values.pop()
        return constant

    @property
    def _families(self) -> tuple[str, ...]:
        """The families that trials can have; none if that was not stored."""
        families = [result.config.family for result in self.results]
        for dimension in self.dimensions:
            if dimension.field == "family":
                families += map(str, dimension.choices)
        if "family" in self.spec.fixed:
            families.append(str(self.spec.fixed["family"]))
        return tuple(dict.fromkeys(families))

    def _takes(self, family: str, name: str) -> bool:
        """Whether networks of a family take a field, as far as is known."""
        if family in models.FAMILIES or models.is_backbone(family):
            return models.find_family(family).takes(name)
        trials = [result for result in self.results if result.config.family == family]
        return not trials or any(result.config.value(name) is not None for result in trials)

    @property
    def searched(self) -> tuple[str, ...]:
        """The searched fields that apply, without repetition, in the study's order."""
        return tuple(dict.fromkeys(dimension.field for dimension in self.applying))

    @cached_property
    def varied_fields(self) -> tuple[str, ...]:
        """The searched fields with more than a single value among the results."""
        return differing_fields(self.searched, self.results)

    @property
    def looks(self) -> Looks:
        """How often the networks of the study were scored on the test split."""
        return count_looks(
            self.results,
            self.counted_looks,
            has_refit=self.refit is not None,
            all_counted=self.facts.selection > 1,
        )

    @property
    def centre(self) -> dict[str, Value]:
        """The first value of each searched field: the centre in methods with a centre."""
        return {dimension.field: dimension.first for dimension in self.dimensions}

    def at_centre(self, config: TrialConfig, *, ignoring: str | None = None) -> bool:
        """Whether all searched fields have their centre value, or do not apply.

        Args:
            config: the configuration to check.
            ignoring: a field that may have any value.
        """
        for name, value in self.centre.items():
            if name != ignoring and config.value(name) not in (value, None):
                return False
        return True

    @property
    def ranking_rule(self) -> RankingRule:
        """The rule by which the configurations are ranked."""
        return RankingRule(
            maximize=self.maximize,
            selection=self.facts.selection,
            repeats=self.spec.repeats,
        )

    @cached_property
    def ranked(self) -> tuple[Ranked, ...]:
        """All configurations, the best first, as `sweeps.analysis.ranking.rank` orders them."""
        return tuple(rank(self.results, self.ranking_rule))

    @cached_property
    def complete_configurations(self) -> tuple[Ranked, ...]:
        """The complete configurations that have a value, the best first."""
        return tuple(
            entry for entry in self.ranked if entry.state == COMPLETE and entry.value is not None
        )

    @property
    def best_trial(self) -> TrialResult | None:
        """The best seed of the first-ranked configuration; None if no trial is complete."""
        if not self.complete_configurations:
            return None
        return self.complete_configurations[0].trials[0]

    @cached_property
    def samples(self) -> Mapping[str, Sample]:
        """The complete seeds of each configuration that has any, by the configuration's group."""
        samples = {}
        for entry in self.complete_configurations:
            sample = make_sample(entry.trials, self.objective, self.facts.images)
            if sample is not None:
                samples[entry.trials[0].config.group] = sample
        return samples

    @cached_property
    def comparison(self) -> Comparison:
        """The comparison of all configurations that stood to win."""
        return Comparison(
            list(self.samples.values()),
            maximize=self.maximize,
            rope=self.equivalence,
            configurations=self.contenders,
        )

    def is_baseline(self, config: TrialConfig) -> bool:
        """Whether a configuration of the study, or of its finalists, is one to compare with."""
        return any(_has_values(config, values) for values in self.facts.baselines)

    @cached_property
    def given_first(self) -> Mapping[str, str]:
        """What the configurations are that no search has drawn, by their group.

        One of "baseline", "start" and "earlier study"; in the order of the trials. The
        configurations of a planned method, which draws none, are not among them.
        """
        starts = self.spec.start_with
        earlier = () if self.facts.warm_start is None else self.facts.warm_start.first
        configs = {one.config.group: one.config for one in reversed(self.results)}
        in_order = dict.fromkeys(one.config.group for one in self.results)
        given = {}
        # What is given is tried before all else: a configuration drawn later may have the same
        # values by chance, as a start gives only some of them.
        room = len(self.facts.baselines) + len(starts) + len(earlier)
        for group in itertools.islice(in_order, room):
            config = configs[group]
            if self.is_baseline(config):
                given[group] = "baseline"
            elif any(_has_values(config, values) for values in starts):
                given[group] = "start"
            elif any(_has_values(config, values) for values in earlier):
                given[group] = "earlier study"
        return given

    @property
    def best_baseline(self) -> Ranked | None:
        """The best complete configuration among those to compare with; None if there is none."""
        for entry in self.complete_configurations:
            if self.is_baseline(entry.trials[0].config):
                return entry
        return None

    @property
    def contenders(self) -> int:
        """The number of configurations that stood to win: all that have a value."""
        return sum(entry.value is not None for entry in self.ranked)

    @property
    def equivalence(self) -> float | None:
        """Configurations whose objectives differ by less count as equal; None if none do."""
        if self.rope is not None:
            return self.rope
        return DEFAULT_ROPE if self.maximize else None

    def difference(self, first: Ranked, second: Ranked) -> Difference | None:
        """Compare two configurations; None unless both have complete seeds."""
        first_sample = self.sample_of(first)
        second_sample = self.sample_of(second)
        if first_sample is None or second_sample is None:
            return None
        return self.comparison.difference(first_sample, second_sample)

    def sample_of(self, entry: Ranked) -> Sample | None:
        """The complete seeds of a configuration; None if there are none."""
        sample = self.samples.get(entry.trials[0].config.group)
        if sample is None or has_all_seeds(entry, self.spec.repeats):
            return sample
        return replace(sample, lacks_seeds=True)

    @cached_property
    def lead(self) -> Lead | None:
        """The first-ranked configuration against the second; None unless both are complete."""
        if len(self.complete_configurations) < 2:
            return None
        first, second = self.complete_configurations[:2]
        difference = self.difference(first, second)
        if difference is None:
            return None
        return Lead(
            first=first,
            second=second,
            differing=differing_fields(self.searched, [first.trials[0], second.trials[0]]),
            difference=difference,
        )

    @property
    def cost(self) -> str | None:
        """The second of two objectives, such as parameters; None for a study with one."""
        return self.spec.objectives[1] if self.spec.objectives else None

    @cached_property
    def front(self) -> Front | None:
        """The front of a study with two objectives, of its complete configurations.

        Those that lack planned seeds are left out, if any has all. None for a study with one
        objective, and as long as no trial is complete.
        """
        if self.cost is None:
            return None
        return find_front(
            self.whole_configurations, self.cost, self.difference, maximize=self.maximize
        )

    @property
    def whole_configurations(self) -> tuple[Ranked, ...]:
        """The complete configurations with all planned seeds; if there are none, all complete."""
        complete = self.complete_configurations
        if self.facts.selection == 1:  # a ranking of 0.1.0 does not ask for all seeds
            return complete
        repeats = self.spec.repeats
        return tuple(one for one in complete if has_all_seeds(one, repeats)) or complete

    def choose(self, within: float | None = None) -> Choice | None:
        """Choose the best configuration, or the cheapest that is hardly worse.

        The cost is the second objective, else the operations of an image, else the parameters.

        Args:
            within: as for `sweeps.analysis.front.choose`.

        Returns:
            The choice; None if no trial is complete.
        """
        entries = self.whole_configurations
        cost = self.cost
        if cost is None:
            knows_operations = all(trial.mflops for entry in entries for trial in entry.trials[:1])
            cost = "mflops" if knows_operations else "parameters"
        return choose(entries, cost, self.difference, maximize=self.maximize, within=within)

    @cached_property
    def judged_as_finalists(self) -> Verdict | None:
        """The verdict so far on a study of finalists; None if no finalist is complete."""
        return judge_finalists(
            self.ranked,
            self.difference,
            planned=self.trials,
            ended=self.ended,
            cost=self.cost,
        )

    @property
    def final_verdict(self) -> Verdict | None:
        """The verdict on this study's finalists, once all their runs have ended."""
        if self.finalists is None:
            return None
        verdict = self.finalists.judged_as_finalists
        if verdict is None or not verdict.final:
            return None
        return verdict

    @property
    def decided_finalists(self) -> StudyRecord | None:
        """The study of the finalists, once all its runs have ended and a finalist has won."""
        if self.final_verdict is None:
            return None
        return self.finalists


def _has_values(config: TrialConfig, values: Mapping[str, Value]) -> bool:
    """Whether a configuration has certain values."""
    return all(config.value(name) == value for name, value in values.items())


def compare_winners(first: StudyRecord, second: StudyRecord) -> Difference | None:
    """Compare the first-ranked configurations of two studies with the same images and objective.

    Each winner was the best of its study. The interval therefore covers the pairs of all
    configurations of both.

    Args:
        first: a study, or a study of finalists.
        second: another.

    Returns:
        The difference, with an interval only if both winners have all their planned seeds; None
        unless both studies have a complete configuration.
    """
    winners = []
    for record in (first, second):
        if not record.complete_configurations:
            return None
        sample = record.sample_of(record.complete_configurations[0])
        if sample is None:
            return None
        winners.append(sample)
    samples = [*first.samples.values(), *second.samples.values()]
    comparison = Comparison(
        samples,
        maximize=first.maximize,
        rope=first.equivalence,
        configurations=first.contenders + second.contenders,
    )
    return comparison.difference(*winners)
