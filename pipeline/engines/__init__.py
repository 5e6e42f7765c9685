"""Engines train the trials of a sweep: in this process, in worker processes, or on a Ray cluster.

`registry.ENGINES` lists the engines that ``--engine`` can name. Each has an `EngineFactory`, which
describes the hardware and makes an `Engine`. A sweep gives the engine one `Task` a trial, with
`Hooks` for what the trial reports, and waits for results. Both protocols are in `base`.

To add an engine, write a factory and an engine of that form in a module of this package, and add
one line to `registry.ENGINES`. `tests/engines/test_engines.py` then tests it as every other engine.
"""
