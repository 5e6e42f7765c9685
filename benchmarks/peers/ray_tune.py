"""(c) Ray Tune with its OptunaSearch and its MLflow callback, as their guides show.

The callback makes Ray's files of a trial artifacts; checkpoints stay in Ray's own storage, all of them: it warns that
keeping fewer slows it down. Processes are used again from trial to trial, for a new one imports everything anew.
"""

import tempfile
from pathlib import Path
from typing import Any

import optuna
import ray
import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from benchmarks.peers import setting
from benchmarks.peers.setting import Plan

CORES = 2


def train(values: dict[str, Any], plan: Plan, threads: int, loader_workers: int) -> None:
    """Train one trial in a process of its own; its best epochs come with a checkpoint."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    batches = setting.loaders(setting.dataset(plan), plan, values["batch_size"], loader_workers)
    network = setting.build(values, plan)
    best = 0.0
    for metrics in setting.fit(network, values["lr"], plan.epochs, *batches):
        if metrics["val_acc"] <= best:
            tune.report(metrics)
            continue
        best = metrics["val_acc"]
        with tempfile.TemporaryDirectory() as folder:
            torch.save(network.state_dict(), Path(folder) / "best.pt")
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def space(trial: optuna.Trial) -> None:
    """The space, define-by-run."""
    setting.suggest(trial)


def main() -> None:
    options = setting.arguments(__doc__)
    plan = Plan.read(options.plan)
    home = Path.cwd()
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level="warning")
    searcher = OptunaSearch(
        space,
        metric="val_acc",
        mode="max",
        points_to_evaluate=plan.trials,
        study_name=setting.STUDY,
        storage=optuna.storages.RDBStorage(setting.STORAGE),
        seed=0,
    )
    trainable = tune.with_parameters(
        train, plan=plan, threads=options.threads, loader_workers=options.loader_workers
    )
    places = CORES // options.threads
    record = MLflowLoggerCallback(
        f"sqlite:///{home / 'mlflow.db'}", experiment_name="sweep", save_artifact=True
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": options.threads}),
        tune_config=tune.TuneConfig(
            search_alg=ConcurrencyLimiter(searcher, max_concurrent=places),
            num_samples=len(plan.trials),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=setting.STUDY,
            storage_path=str(home / "ray"),
            callbacks=[record],
            verbose=0,
        ),
    )
    tuner.fit()


if __name__ == "__main__":
    main()
