"""Counts how often a study's report claims what is not so, on studies with a known truth.

    python -m benchmarks.verdict repeats --studies 400
    python -m benchmarks.verdict finalists --studies 400

No network is trained. Each image of each network is right or wrong at random, by a model with the
agreement of real networks (below), and becomes a study as the store would give it back. The report's
own analysis then judges it: what `StudyRecord.lead`, the health check `gain` and the verdict on
finalists claim.

``repeats`` prints, for configurations with several seeds each,

- ``nothing different``: the share of studies with some claim although all configurations have the
  same true accuracy;
- ``one is better``: the share of studies in which the truly best configuration is said to be ahead
  of the second, beside that of an oracle. The oracle knows all variances, and uses the same
  quantile for the number of configurations. The lead is the one that the oracle would see over a
  given other configuration in four studies of five, or .06 if that is less.

``finalists`` prints

- ``some claim``: the share of studies of equal finalists with a winner said to be ahead of another;
- ``sole winner``: those with a winner said to be ahead of all others;
- ``called equal``: the share in which two finalists are called equal in practice, although their
  true difference is as large as the region of practical equivalence;
- ``seen``, ``oracle``: how often a true lead of .02 is seen over all others.

The model: an image is classified correctly if a sum of normal variables is positive: the image's
difficulty, what the configuration finds hard in it, what the seed does with it, and the seed's shift
of all images. Two seeds of a configuration then disagree on 6.5 % of the images, and two
configurations on 9.8 %, at an accuracy of .93, as was measured of 24 networks (``benchmarks.seeds``
measures 7.6 % and 12.1 % at .80). With ``--unequal``, the standard deviations of the configurations'
shifts by the seed differ as measured there (a standard deviation of .6 of their logarithm). With
``--poor``, the last configurations are .3 less accurate and vary by .06 over seeds; claims that they
are behind are true, and are not counted: ``nothing different`` counts the lead alone.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from pipeline.report.checks.winner import gain
from sweeps.analysis.bits import pack
from sweeps.analysis.difference import simultaneous_quantile
from sweeps.analysis.facts import SELECTION, StoredSpec, StudyFacts
from sweeps.analysis.record import StudyRecord
from sweeps.spec.dimension import Dimension
from sweeps.trial import COMPLETE, Epoch, TrialResult, configure

if TYPE_CHECKING:
    from numpy.typing import NDArray

ACCURACY = 0.93
SEEDS_DISAGREE = 0.065  # share of the images, at this accuracy
CONFIGURATIONS_DISAGREE = 0.098
SEED_DEVIATION = 0.004  # of the accuracy, on all images alike
POOR_LOSS = 0.3  # of accuracy
POOR_DEVIATION = 0.06  # of the accuracy over seeds
UNEQUAL = 0.6  # standard deviation of its logarithm over the configurations
DRAWS = 600  # from which a true standard deviation is computed
KNOWN = 1_000_000  # degrees of freedom of a variance that is known
SEEN = 0.8
LEAD = 0.02
LARGEST_LEAD = 0.06  # in the table of repeats


@dataclass(frozen=True)
class Model:
    """How the networks of a made study agree."""

    accuracy: float = ACCURACY
    seed_deviation: float = SEED_DEVIATION
    unequal: bool = False
    poor: int = 0  # of the configurations, the last: far less accurate, and varying much

    def correlations(self) -> tuple[float, float]:
        """The correlations behind an image: of two seeds, and of two configurations."""
        variance = self.accuracy * (1 - self.accuracy)
        scale = variance / (ACCURACY * (1 - ACCURACY))
        of_seeds = _correlation(self.accuracy, variance - SEEDS_DISAGREE * scale / 2)
        of_configurations = _correlation(
            self.accuracy, variance - CONFIGURATIONS_DISAGREE * scale / 2
        )
        return of_seeds, of_configurations

    def draw(
        self,
        rng: np.random.Generator,
        configurations: int,
        seeds: int,
        images: int,
        leads: Mapping[int, float],
    ) -> Iterator[NDArray[np.bool_]]:
        """Draw which images are right: bool (seeds, images) for each configuration.

        Args:
            rng: the source of randomness.
            configurations: their number.
            seeds: of each.
            images: of the validation split.
            leads: by how much the true accuracy of some configurations is above the model's.
        """
        of_seeds, of_configurations = self.correlations()
        density = norm.pdf(norm.ppf(self.accuracy))
        difficulty = rng.standard_normal(images) * math.sqrt(of_configurations)
        for configuration in range(configurations):
            mean = norm.ppf(self.accuracy + leads.get(configuration, 0.0))
            deviation = self.seed_deviation / density
            if configuration >= configurations - self.poor:
                mean = norm.ppf(self.accuracy - POOR_LOSS)
                deviation = POOR_DEVIATION / norm.pdf(mean)
            if self.unequal:
                deviation *= math.exp(UNEQUAL * rng.standard_normal())
            own = rng.standard_normal(images) * math.sqrt(of_seeds - of_configurations)
            shifts = rng.standard_normal((seeds, 1)) * deviation
            noise = rng.standard_normal((seeds, images)) * math.sqrt(1 - of_seeds)
            yield mean + difficulty + own + shifts + noise > 0

    def deviation(self, rng: np.random.Generator, seeds: int, images: int, lead: float) -> float:
        """The true standard deviation of a difference of two configurations, from many draws.

        Args:
            rng: the source of randomness.
            seeds: of each configuration.
            images: of the validation split.
            lead: by how much the first one's true accuracy is above the other's.
        """
        differences = []
        good = replace(self, poor=0)
        for _ in range(DRAWS):
            first, second = good.draw(rng, 2, seeds, images, {0: lead})
            differences.append(first.mean() - second.mean())
        return float(np.std(differences, ddof=1))


def _correlation(share: float, covariance: float) -> float:
    """Return the correlation of two normal variables whose signs have a given covariance."""
    limit = norm.ppf(1 - share)

    def excess(correlation: float) -> float:
        matrix = [[1.0, correlation], [correlation, 1.0]]
        both_wrong = multivariate_normal.cdf([limit, limit], mean=[0, 0], cov=matrix)
        return float(both_wrong) - (1 - share) ** 2 - covariance

    return float(brentq(excess, 1e-6, 1 - 1e-6))


def make_study(
    rng: np.random.Generator,
    model: Model,
    configurations: int,
    seeds: int,
    images: int,
    leads: Mapping[int, float],
) -> StudyRecord:
    """Make a study, as if read from a store, of networks whose images are drawn from a model."""
    results: list[TrialResult] = []
    drawn = model.draw(rng, configurations, seeds, images, leads)
    for configuration, table in enumerate(drawn):
        for seed, row in enumerate(table):
            lr = round(0.001 * (1 + configuration), 6)
            results.append(_result(len(results), lr, seed, row))
    rates = tuple(sorted({result.config.lr for result in results}))
    return StudyRecord(
        name="made",
        study="made",
        dataset="digits",
        objective="val_acc",
        maximize=True,
        trials=len(results),
        dimensions=(Dimension(field="lr", choices=rates),),
        classes=("all", "none"),
        results=tuple(results),
        spec=StoredSpec(repeats=seeds),
        facts=StudyFacts(selection=SELECTION),
    )


def _result(number: int, lr: float, seed: int, right: NDArray[np.bool_]) -> TrialResult:
    images = len(right)
    hits = int(right.sum())
    value = hits / images
    epoch = Epoch(
        epoch=1,
        time=1_700_000_000_000 + number,
        metrics={"val/acc": value, "val/loss": 1 - value, "train/acc": value},
        per_class=(value, None),
        predicted=(hits, images - hits),
    )
    return TrialResult(
        number=number,
        config=configure({"lr": lr, "seed": seed, "epochs": 1}),
        state=COMPLETE,
        end=COMPLETE,
        value=value,
        best_epoch=1,
        history=(epoch,),
        confusion=((hits, images - hits), (0, 0)),
        correct=pack(right),
    )


# What a study claims


def leads_by_claim(record: StudyRecord) -> bool:
    """Whether the report claims that the first configuration is better than the second."""
    lead = record.lead
    return lead is not None and lead.difference.outcome in ("ahead", "behind")


def claims_of_search(record: StudyRecord) -> bool:
    """Whether the report of a search claims that some configuration is better than another."""
    if leads_by_claim(record):
        return True
    check = gain(record)
    return check is not None and check.level == "good"


def best_is_ahead(record: StudyRecord) -> bool:
    """Whether the truly best configuration, the first, is said to be ahead of the second."""
    lead = record.lead
    if lead is None or lead.difference.outcome != "ahead":
        return False
    return lead.first.trials[0].config.lr == record.results[0].config.lr


def sees_by_oracle(
    rng: np.random.Generator,
    model: Model,
    configurations: int,
    seeds: int,
    images: int,
    lead: float,
) -> float:
    """How often an oracle sees the first ahead of the second-ranked: it knows the variance."""
    deviation = model.deviation(rng, seeds, images, lead)
    means = rng.standard_normal((20_000, configurations)) * deviation / math.sqrt(2)
    means[:, 0] += lead
    ahead = means[:, 0] - means[:, 1:].max(axis=1)
    needed = simultaneous_quantile(configurations, KNOWN) * deviation
    return float((ahead > needed).mean())


# The tables


def print_repeats(studies: int, model: Model) -> None:
    """Print the table of searches with repeats."""
    print("configurations seeds images | nothing different | one is better, oracle, lead")
    for configurations, seeds, images in REPEATS:
        if configurations - model.poor < 2:
            continue
        rng = np.random.default_rng(0)
        count = _studies(studies, configurations * seeds * images)
        claims = 0
        for _ in range(count):
            record = make_study(rng, model, configurations, seeds, images, {})
            claims += leads_by_claim(record) if model.poor else claims_of_search(record)
        deviation = model.deviation(rng, seeds, images, 0.0)
        needed = simultaneous_quantile(configurations, KNOWN) + norm.ppf(SEEN)
        lead = min(float(needed) * deviation, LARGEST_LEAD)
        seen = sum(
            best_is_ahead(make_study(rng, model, configurations, seeds, images, {0: lead}))
            for _ in range(count)
        )
        oracle = sees_by_oracle(rng, model, configurations, seeds, images, lead)
        print(
            f"{configurations:4} {seeds:3} {images:6} | {_share(claims, count)} | "
            f"{_share(seen, count)}, {oracle:.3f}, {lead:.4f} | n {count}",
            flush=True,
        )


def print_finalists(studies: int, model: Model) -> None:
    """Print the table of finalists."""
    print("finalists seeds images | some claim | sole winner | called equal | seen, oracle")
    for finalists, seeds, images in FINALISTS:
        rng = np.random.default_rng(0)
        count = _studies(studies, finalists * seeds * images)
        claims = 0
        sole = 0
        equal = 0
        seen = 0
        for _ in range(count):
            verdict = make_study(rng, model, finalists, seeds, images, {}).judged_as_finalists
            others = [] if verdict is None else verdict.finalists[1:]
            claims += any(
                other.against is not None and other.against.outcome in ("ahead", "behind")
                for other in others
            )
            sole += verdict is not None and verdict.sole
            apart = make_study(rng, model, finalists, seeds, images, {0: 0.01})
            equal += _calls_first_equal(replace(apart, rope=0.01))
            better = make_study(rng, model, finalists, seeds, images, {0: LEAD})
            verdict = better.judged_as_finalists
            is_first = verdict is not None and verdict.winner.trial.config.lr == 0.001
            seen += is_first and verdict is not None and verdict.sole
        oracle = sees_by_oracle(rng, model, finalists, seeds, images, LEAD)
        print(
            f"{finalists:3} {seeds:3} {images:6} | {_share(claims, count)} | "
            f"{_share(sole, count)} | {_share(equal, count)} | {_share(seen, count)}, {oracle:.3f} "
            f"| n {count}",
            flush=True,
        )


def _calls_first_equal(record: StudyRecord) -> bool:
    """Whether the first configuration is called equal to another."""
    verdict = record.judged_as_finalists
    if verdict is None:
        return False
    first = record.results[0].config.lr
    pairs = [(verdict.winner, other) for other in verdict.equal]
    return any(first in (one.trial.config.lr, other.trial.config.lr) for one, other in pairs)


def _studies(most: int, size: int) -> int:
    """How many studies to make of a size, in images of all networks: fewer large ones."""
    return max(100, min(most, 400_000_000 // size))


def _share(count: int, of: int) -> str:
    share = count / of
    return f"{share:.3f} ± {math.sqrt(max(share * (1 - share), 1 / of) / of):.3f}"


REPEATS = [
    (configurations, seeds, images)
    for images in (239, 1000, 10_000)
    for configurations, seeds in (
        (2, 2),
        (2, 3),
        (2, 10),
        (5, 2),
        (5, 3),
        (5, 10),
        (20, 3),
        (100, 2),
    )
]
FINALISTS = [
    (finalists, seeds, images)
    for images in (239, 1000, 10_000)
    for finalists in (3, 5)
    for seeds in (3, 5, 10)
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=["repeats", "finalists"])
    parser.add_argument("--studies", type=int, default=400, help="of each size, at most")
    parser.add_argument("--unequal", action="store_true", help="seeds differ more in some")
    parser.add_argument("--poor", type=int, default=0, help="configurations that are far behind")
    parser.add_argument("--seed-deviation", type=float, default=SEED_DEVIATION)
    options = parser.parse_args()
    model = Model(seed_deviation=options.seed_deviation, unequal=options.unequal, poor=options.poor)
    if options.table == "repeats":
        print_repeats(options.studies, model)
    else:
        print_finalists(options.studies, model)


if __name__ == "__main__":
    main()
