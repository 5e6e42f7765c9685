"""The search itself: an Optuna study that is asked, told, pruned and resumed, and the loop that drives it."""
