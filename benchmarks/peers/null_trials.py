"""(a) Trials that train nothing, recorded by hand: Optuna's ask and tell, MLflow's fluent calls after every epoch."""

import argparse
import json
import time
from pathlib import Path

import mlflow
import optuna

from benchmarks.peers import setting

CLASSES = range(10)


def metrics(epoch: int) -> dict[str, float]:
    """Fourteen figures."""
    figures = dict.fromkeys(
        ("train/loss", "val/loss", "val/acc", "time/images_per_second"), epoch / 20
    )
    return figures | {f"val_class/{number:02d}": epoch / 20 for number in CLASSES}


def objective(trial: optuna.Trial, epochs: int, whole: bool) -> float:
    """One trial: metrics only, or with its params and a checkpoint too."""
    values = {
        "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128]),
    }
    with mlflow.start_run(nested=True, run_name=f"trial {trial.number}"):
        if whole:
            mlflow.log_params(values)
        for epoch in range(1, epochs + 1):
            mlflow.log_metrics(metrics(epoch), step=epoch)
            trial.report(epoch / 20, epoch)
        if whole:
            mlflow.log_artifact("best.pt", "checkpoint")
    return epochs / 20


def main() -> None:
    """Print the seconds of all trials, also of CPU; the stores are made before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--whole", action="store_true")
    options = parser.parse_args()
    Path("best.pt").write_bytes(bytes(50_000))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mlflow.set_tracking_uri(setting.TRACKING)
    mlflow.set_experiment(setting.EXPERIMENT)
    study = optuna.create_study(
        study_name=setting.STUDY, storage=setting.STORAGE, direction="maximize"
    )
    with mlflow.start_run(run_name=setting.STUDY):
        began, used = time.perf_counter(), time.process_time()
        study.optimize(
            lambda trial: objective(trial, options.epochs, options.whole), n_trials=options.trials
        )
        taken = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
