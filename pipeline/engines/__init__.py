"""Engines train the trials of a sweep: in this process, in worker processes, or on a Ray cluster.

`registry.ENGINES` lists the names for ``--engine``. Each engine has an `EngineFactory`, which
describes the hardware and makes the `Engine`. A sweep gives the engine a `Task` for each trial,
with `Hooks` for the trial's reports, and waits for results. Both protocols are in `base`.

To add an engine, implement both protocols in a module of this package, and add a line to
`registry.ENGINES`. `tests/engines/test_engines.py` then tests the new engine like all others.
"""
