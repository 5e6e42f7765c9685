"""Suggests the word that was meant: the nearest known one, or the one of the same meaning."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# With a suggestion, a longer list of known words is left out: the suggestion would be lost in it.
_MAX_LISTED = 30

# Words of other tools, by ours.
_SAME_MEANING = {
    "lr": "learning_rate learning rate step_size eta eta0 alpha base_lr initial_lr init_lr",
    "batch_size": "bs batch minibatch mini_batch_size train_batch_size per_device_batch_size",
    "weight_decay": "wd l2 l2_reg l2_penalty decay",
    "dropout": "drop drop_rate dropout_rate dropout_prob p_drop keep_prob",
    "activation": "act act_fn act_layer activation_fn activation_function nonlinearity",
    "width": "hidden hidden_size hidden_dim hidden_units units neurons filters n_filters channels",
    "depth": "layers n_layers num_layers hidden_layers num_blocks n_blocks",
    "batch_norm": "norm bn batchnorm use_bn normalization",
    "family": "model models arch architecture network net backbone",
    "optimizer": "opt optim optimiser",
    "momentum": "beta beta1 mu",
    "schedule": "scheduler lr_schedule lr_scheduler",
    "patience": "early_stopping early_stop es_patience",
    "label_smoothing": "smoothing ls",
    "grad_clip": "clip clip_grad clipnorm max_grad_norm gradient_clip_val",
    "augment": "aug augmentation augmentations data_augmentation transforms",
    "init": "initializer kernel_initializer weight_init initialization",
    "loss": "criterion loss_fn",
    "precision": "amp dtype mixed_precision half",
    "class_weights": "class_weight weights",
    "image_size": "img_size imgsz input_size resolution resize",
    "epochs": "n_epochs num_epochs max_epochs epoch iterations",
    "trials": "n_trials num_trials max_trials num_samples n_iter runs count",
    "timeout": "time_budget max_time",
    "seed": "random_state random_seed manual_seed",
    "dataset": "data ds data_set",
    "method": "sampler algorithm search_alg tuner strategy",
    "pruner": "early_terminate scheduler",
    "objective": "metric monitor goal direction target_metric",
    "search": "space params parameters parameter_space search_space hyperparameters hparams",
    "fixed": "constants defaults static",
    "repeats": "n_repeats n_seeds num_seeds executions_per_trial",
    "folds": "cv k kfold n_splits k_folds num_folds",
    "start_with": "enqueue initial_points points_to_evaluate",
    "workers": "n_jobs num_workers jobs max_concurrent concurrency parallel",
    "low": "min minimum from",
    "high": "max maximum to",
    "choices": "values options categorical",
    "log": "log_uniform loguniform log_scale",
    "tpe": "bayes bayesian hyperopt optuna",
    "gp": "gaussian_process",
    "asha": "hyperband successive_halving halving",
    "val_acc": "acc accuracy val_accuracy top1",
    "val_loss": "validation_loss",
    "balanced_acc": "balanced_accuracy bacc",
    "macro_f1": "f1 f1_score f1_macro",
    "cross_entropy": "ce crossentropy categorical_crossentropy nll xent",
    "squared_error": "mse mse_loss brier l2",
    "silu": "swish",
    "leaky_relu": "lrelu leakyrelu",
    "one_factor": "ofat oat one_at_a_time",
    "device": "gpu cuda accelerator",
    "name": "study_name experiment_name project",
    "train": "fit training",
    "val": "valid validation dev",
    "onecycle": "one_cycle onecyclelr",
    "cosine": "cosineannealinglr cosine_annealing",
    "crop-flip": "flip crop horizontal_flip standard",
}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest a known word and list all: the end of an error about an unknown word.

    Args:
        name: the unknown word.
        known: the words that there are. Many are listed only without a suggestion.
    """
    words = list(known)
    listed = f"known: {', '.join(words)}"
    suggestion = suggest(name, words)
    if suggestion is None:
        return listed
    if len(words) > _MAX_LISTED:
        return f"did you mean {suggestion}?"
    return f"did you mean {suggestion}? {listed}"


def suggest(name: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, if any.

    It is the same word in other capitals, else the one of the same meaning in other tools, else the
    one with the most similar letters.
    """
    words = list(known)
    by_plain = {_plain(word): word for word in words}
    plain = _plain(name)
    if plain in by_plain:
        return by_plain[plain]
    for ours, others in _SAME_MEANING.items():
        if plain in map(_plain, others.split()) and _plain(ours) in by_plain:
            return by_plain[_plain(ours)]
    by_letters = {word.lower(): word for word in words}
    nearest = difflib.get_close_matches(name.lower(), by_letters, n=1)
    return by_letters[nearest[0]] if nearest else None


def _plain(word: str) -> str:
    """The letters and digits of a word, small."""
    return "".join(character for character in word.lower() if character.isalnum())
