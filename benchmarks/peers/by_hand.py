"""(a) What a user writes by hand: Optuna, MLflow's fluent calls, torchvision and a DataLoader."""

from collections.abc import Callable
from typing import Any

import mlflow
import optuna
import torch

from benchmarks.peers import setting
from benchmarks.peers.setting import Batches, Plan


def search(plan: Plan, batches: Callable[[int], tuple[Batches, Batches]]) -> None:
    """Train every trial below one parent run; ``batches`` gives training and validation for a batch size."""
    mlflow.set_tracking_uri(setting.TRACKING)
    mlflow.set_experiment(setting.EXPERIMENT)

    def objective(trial: optuna.Trial) -> float:
        values: dict[str, Any] = setting.explore(trial) if plan.searched else setting.suggest(trial)
        with mlflow.start_run(nested=True, run_name=f"trial {trial.number}"):
            mlflow.log_params(values)
            torch.manual_seed(0)
            network = setting.build(values, plan)
            best = 0.0
            figures = setting.fit(
                network, values["lr"], plan.epochs, *batches(values["batch_size"])
            )
            for epoch, metrics in enumerate(figures, start=1):
                mlflow.log_metrics(metrics, step=epoch)
                trial.report(metrics["val_acc"], epoch)
                if metrics["val_acc"] > best:
                    best = metrics["val_acc"]
                    torch.save(network.state_dict(), "best.pt")
                if trial.should_prune():
                    raise optuna.TrialPruned
            mlflow.log_artifact("best.pt", "checkpoint")
            mlflow.log_metric("best_val_acc", best)
            return best

    study = setting.study(plan)
    with mlflow.start_run(run_name=setting.STUDY):
        study.optimize(objective, n_trials=plan.searched or len(plan.trials))
        mlflow.log_metric("best_val_acc", study.best_value)


def main() -> None:
    options = setting.arguments(__doc__)
    torch.set_num_threads(options.threads)
    plan = Plan.read(options.plan)
    data = setting.dataset(plan)
    search(plan, lambda size: setting.loaders(data, plan, size, options.loader_workers))


if __name__ == "__main__":
    main()
