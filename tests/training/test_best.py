"""The best weights of a paused training are in its state, and are saved when it does not go on."""

from dataclasses import replace

import pytest
import torch
from support.trainings import run, settled, suited

from pipeline.checkpoints import Folder, load_model
from pipeline.training.best import save_best_of_paused
from pipeline.training.epochs import Hooks
from pipeline.training.train import train
from sweeps.trial import FAILED, PAUSED, PRUNED


def pause(folder, data, until=2, **values):
    """Train a small configuration until an epoch."""
    config = settled(**values)
    return train(0, config, suited(config.family, data), folder, objective="val_acc", until=until)


@pytest.mark.parametrize("values", [{"normalize": False}, {"redraw": "draw-2"}], ids=str)
def test_the_best_weights_of_a_paused_training(values, tiny, tmp_path):
    """They are those that the same training leaves if it is pruned there, with the same card."""
    paused = pause(tmp_path / "paused", tiny, **values)
    prune = Hooks(epoch=lambda row, _best: row.epoch == 2)
    pruned = run(tmp_path / "pruned", tiny, hooks=prune, **values)
    folder = Folder(tmp_path / "paused")
    assert (paused.state, paused.checkpoint, pruned.state) == (PAUSED, None, PRUNED)
    assert not folder.best.exists()
    assert save_best_of_paused(folder, paused, tiny)
    (network, card), (expected, expected_card) = map(load_model, (folder.best, pruned.checkpoint))
    assert all(map(torch.equal, network.state_dict().values(), expected.state_dict().values()))
    assert (card.epoch, card.mean, card.std) == (
        expected_card.epoch,
        expected_card.mean,
        expected_card.std,
    )
    assert card.mean != tiny.mean
    assert (card.config, card.digest) == (expected_card.config, expected_card.digest)
    assert card.metrics["val/acc"] == paused.value == pruned.value


def test_no_state_no_weights(tiny, tmp_path):
    """A failed trial has no weights, nor has a state that is lost, damaged, or another's."""
    paused = pause(tmp_path, tiny, until=1)
    folder = Folder(tmp_path)
    assert not save_best_of_paused(folder, replace(paused, best_epoch=2), tiny)
    assert not save_best_of_paused(folder, replace(paused, state=FAILED), tiny)
    assert not save_best_of_paused(folder, replace(paused, config=settled(lr=0.5)), tiny)
    (state,) = folder.states()
    state.write_bytes(state.read_bytes()[:-1])
    assert not save_best_of_paused(folder, paused, tiny)
    folder.clear()
    assert not save_best_of_paused(folder, paused, tiny)
    assert not folder.best.exists()
