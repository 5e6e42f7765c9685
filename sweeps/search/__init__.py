"""The search itself, over an Optuna study.

- `loop`: runs a sweep, with a runner that trains the trials
- `study`: asks, reports, prunes, tells and resumes the trials of a study
- `stored`: reads studies from the store
- `sampling`: has Optuna choose the values of a trial, reproducibly
- `pruning`: decides when a trial is not worth another epoch
"""
