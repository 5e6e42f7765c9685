"""(d) Lightning's Trainer and its MLFlowLogger below Optuna, as Optuna's example for Lightning has it."""

import logging
from typing import Any

import lightning
import optuna
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import MLFlowLogger
from torch.nn import functional

from benchmarks.peers import setting
from benchmarks.peers.setting import Plan

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Classifier(lightning.LightningModule):
    def __init__(self, values: dict[str, Any], plan: Plan) -> None:
        super().__init__()
        self.save_hyperparameters(values)
        self.network = setting.build(values, plan)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        self._step(batch, "val")

    def _step(self, batch: tuple[torch.Tensor, torch.Tensor], part: str) -> torch.Tensor:
        images, labels = batch
        logits = self.network(images)
        loss = functional.cross_entropy(logits, labels)
        figures = {f"{part}_loss": loss, f"{part}_acc": (logits.argmax(1) == labels).float().mean()}
        self.log_dict(figures, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


def main() -> None:
    options = setting.arguments(__doc__)
    torch.set_num_threads(options.threads)
    plan = Plan.read(options.plan)
    data = setting.dataset(plan)

    def objective(trial: optuna.Trial) -> float:
        values = setting.suggest(trial)
        lightning.seed_everything(0, verbose=False)
        best = ModelCheckpoint(monitor="val_acc", mode="max", save_top_k=1, save_weights_only=True)
        logger = MLFlowLogger(
            setting.EXPERIMENT,
            run_name=f"trial {trial.number}",
            tracking_uri=setting.TRACKING,
            log_model=True,
        )
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=plan.epochs,
            logger=logger,
            callbacks=[best],
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        batches = setting.loaders(data, plan, values["batch_size"], options.loader_workers)
        trainer.fit(Classifier(values, plan), *batches)
        return float(best.best_model_score)

    setting.study(plan).optimize(objective, n_trials=len(plan.trials))


if __name__ == "__main__":
    main()
