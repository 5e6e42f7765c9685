"""What a sweep's helpers need, imported by the server that they are forked from. Begins nothing."""

import atexit
import os

from pipeline.system import garbage

with garbage.freeze_loaded():  # so collections in the helpers leave the pages alone that they share
    import torch._dynamo  # noqa: F401 - torch's first optimiser would


atexit.register(
    os._exit, 0
)  # of the server alone: the interpreter's own end would say that the frozen has leaked
