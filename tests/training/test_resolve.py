"""How `auto` is resolved to the precision of a device."""

import pytest
import torch

import models
from pipeline.training.resolve import choose_precision, resolve
from sweeps.trial import configure


@pytest.mark.parametrize(
    ("can", "precision"),
    [
        ({"avx512_bf16": True}, "bf16"),
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC 9654"}, "bf16"),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, "fp32"),
        ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "avx2": True}, "fp32"),
    ],
)
def test_resolve_on_a_cpu(can, precision, monkeypatch):
    """A CPU trains in bf16 if it has instructions for that which are faster than those for fp32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)
    assert resolve(configure({"device": "cpu", "dataset": "mnist"})).precision == precision
    assert (
        resolve(configure({"device": "cpu", "dataset": "mnist", "precision": "fp32"})).precision
        == "fp32"
    )


def test_arithmetic():
    """Every built-in family has bf16 where the device has; on a CPU neither the digits nor networks of one's own."""
    for family in models.FAMILIES:
        config = configure({"family": family, "dataset": "cifar10"})
        assert [choose_precision(config, "cpu", has_bf16=has) for has in (True, False)] == [
            "bf16",
            "fp32",
        ]
    digits, own = (
        configure(values)
        for values in ({"dataset": "digits"}, {"dataset": "mnist", "family": "torch.nn:Linear"})
    )
    for config in (digits, own):
        assert choose_precision(config, "cpu", has_bf16=True) == "fp32"
        assert choose_precision(config, "cuda", has_bf16=True) == "bf16"


def test_compiling_needs_a_compiler(tmp_path, monkeypatch):
    """Without a C++ compiler, a configuration that is compiled is refused before it is trained."""
    config = configure({"compile": True, "device": "cpu"})
    compiler = tmp_path / "my-compiler"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match=r"compile needs a C\+\+ compiler .* or leave compile out"):
        resolve(config)
    resolve(configure({"device": "cpu"}))
    monkeypatch.setenv("CXX", "my-compiler")
    assert resolve(config).compile
