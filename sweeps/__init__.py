"""The search: what a study searches, how its trials are chosen, and how their results are analysed.

A study file is read into a specification, the loop asks the study for trials and has somebody else
train them, and the results are ranked and compared. The packages, each importing only those above
it:

- `trial`: a trial's configuration and its result, the two values that flow through everything
- `spec`: the specification of a study, and how it is read from a study file
- `analysis`: rankings, comparisons and confidence intervals, as functions of results
- `search`: the stored study, samplers and pruners over Optuna, and the loop of a sweep
- `studies`: the study files that are shipped

Only `search` opens a store. Of the networks, this package knows the names and options, not torch;
training is handed in, so that the loop can be tested with invented trials.
"""
