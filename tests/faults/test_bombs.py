"""What strangers may send: files that run something when they are read, and values that a shell would run.

Each would leave a canary file. None does, and each is refused in one line.
"""

import ast
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from mlflow.projects._project_spec import load_project
from support.endtoend import client, furnish, pipeline
from support.sourcecode import PRODUCT, sources

from pipeline.checkpoints import save

ROOT = Path(__file__).parents[2]
CANARY = "canary"


class Bomb:
    """Unpickled, it makes the canary in the working folder."""

    def __reduce__(self):
        return os.system, (f"touch {CANARY}",)


def sha256sum(path):
    """Put the right sum beside a file: who sends the one can send the other."""
    import hashlib

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")
    return path


def write_checkpoint(path, form):
    """A checkpoint that is a bomb, in one of the forms in which they come."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif form == "among tensors":
        torch.save({"weight": torch.zeros(3), "extra": Bomb()}, path)
    else:
        torch.save(Bomb(), path, _use_new_zipfile_serialization=form == "zip")
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_bombs_are_real(place):
    """Read without care, each form does leave the canary: the tests below can fail."""
    for form in ("zip", "legacy", "among tensors"):
        torch.load(write_checkpoint(place / form, form), weights_only=False)
        (place / CANARY).unlink()
    pickle.loads(write_checkpoint(place / "plain", "plain pickle").read_bytes())
    (place / CANARY).unlink()


@pytest.mark.parametrize("summed", [True, False], ids=["with its sum", "without"])
@pytest.mark.parametrize(
    "name", ["model.pt", "best.safetensors", "model.pt2", "folder/best.safetensors"]
)
@pytest.mark.parametrize("form", ["zip", "legacy", "among tensors", "plain pickle"])
def test_a_pickle_is_never_read(form, name, summed, place, capsys):
    """`evaluate --checkpoint` of a pickle, whatever its name, with or without its sum: exit 6, one line, no canary."""
    path = write_checkpoint(place / name, form)
    if summed:
        sha256sum(path)
    given = path.parent if name.startswith("folder") else path
    assert pipeline("evaluate", "--checkpoint", str(given)) == 6
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert not (place / CANARY).exists()


FACTS = {
    "config": {"dataset": "digits", "family": "mlp", "optimizer": "adam", "epochs": 1},
    "classes": ["a", "b"],
    "shape": [1, 8, 8],
    "mean": [0.5],
    "std": [0.5],
    "epoch": 1,
    "metrics": {},
}
CRAFTED = {
    "no facts": {},
    "no mapping": [],
    "text": "facts",
    "a list for the configuration": {**FACTS, "config": []},
    "an unknown field": {**FACTS, "config": {"x": 1}},
    "an unknown family": {**FACTS, "config": {"family": "mpl"}},
    "a family that is a command": {
        **FACTS,
        "config": {"family": "subprocess:Popen"},
        "shape": ["touch", CANARY, "x"],
    },
    "a family that is a number": {**FACTS, "config": {"family": 7}},
    "a family that is an import": {**FACTS, "config": {"family": ":"}},
    "no shape": {**FACTS, "shape": None},
    "a shape of words": {**FACTS, "shape": ["a", "b", "c"]},
    "a shape of nothing": {**FACTS, "shape": [0, 0, 0]},
    "a shape below nothing": {**FACTS, "shape": [1, -8, 8]},
    "a shape of too many": {**FACTS, "shape": [1, 8, 8, 8]},
    "a number of classes": {**FACTS, "classes": 2},
    "unknown facts": {**FACTS, "x": 1},
    "an option of another type": {**FACTS, "config": {**FACTS["config"], "width": "wide"}},
    "an option out of bounds": {**FACTS, "config": {**FACTS["config"], "depth": -3}},
    "another network's weights": FACTS,
}


@pytest.mark.parametrize("facts", CRAFTED.values(), ids=CRAFTED)
def test_a_crafted_card_is_refused(facts, place, capsys):
    """A checkpoint with a right sum and any facts inside: exit 6 in one line, no traceback, no canary."""
    save(place / "best.safetensors", {"w": torch.zeros(2)}, facts)
    assert pipeline("evaluate", "--checkpoint", "best.safetensors") == 6
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (place / CANARY).exists()


@pytest.mark.parametrize(
    "metadata", [None, {}, {"facts": "{"}, {"facts": "[" * 100_000}, {"facts": "1e999999"}]
)
def test_metadata_that_is_no_json_is_refused(metadata, place):
    """A safetensors file of another program, or with broken or deeply nested facts: exit 6."""
    path = place / "best.safetensors"
    path.write_bytes(safetensors.torch.save({"w": torch.zeros(2)}, metadata=metadata))
    assert pipeline("evaluate", "--checkpoint", str(sha256sum(path))) == 6


DEEP = "a: " + "[" * 50_000
LAUGHS = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
)
YAML = {
    "a call": f"!!python/object/apply:os.system ['touch {CANARY}']",
    "a call inside": f"search: {{lr: !!python/object/apply:os.system ['touch {CANARY}']}}",
    "an instance": f"search: !!python/object/new:os.system ['touch {CANARY}']",
    "a module": "search: !!python/module:antigravity",
    "a billion laughs": LAUGHS,
    "itself": "search: &a [*a]",
    "itself as a key": "search: &a {? *a : 1}",
    "merging itself": "search: &a {<<: *a}",
    "depth": DEEP,
    "depth of mappings": "{a: " * 50_000,
    "a long key": f"? {'k' * 100_000}\n: 1",
    "a million digits": f"trials: {'9' * 1_000_000}",
    "a float of a million digits": f"trials: 0.{'9' * 1_000_000}e{'9' * 100}",
    "a page of nothing": "\n" * 1_000_000,
    "NUL": "search: \0",
    "no text": "\udcff",
    "another document": "search: {lr: [1]}\n---\nsearch: {lr: [1]}",
}


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
def test_a_yaml_bomb_is_refused(text, place, capsys):
    """A study file that calls, recurses, explodes or nests: exit 2 in short lines, no canary, nothing made."""
    (place / "bomb.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert pipeline("sweep", "bomb.yaml") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert len(lines) < 50
    assert [path.name for path in place.iterdir()] == ["bomb.yaml"]


# What would read a pickle, or run text; a method `.eval()` is another thing.
RUNS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "shelve",
    "marshal",
    "joblib",
    "pickle",
    "cPickle",
    "dill",
}
READS = {
    "torch.load",
    "np.load",
    "numpy.load",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pandas.read_pickle",
}
READS |= {
    "mlflow.pytorch.load_model",
    "mlflow.pyfunc.load_model",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
}


def loads_tensors_alone(node):
    """Whether a node calls `torch.load` with its reader of tensors, which runs nothing."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) == "torch.load"
        and any(
            word.arg == "weights_only" and ast.unparse(word.value) == "True"
            for word in node.keywords
        )
    )


def unpickling(text):
    """The calls and names of a source text that unpickle, or run text."""
    nodes = list(ast.walk(ast.parse(text)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    found = {node.id for node in names if isinstance(node.ctx, ast.Load)} & RUNS
    tensors_alone = {id(node.func) for node in nodes if loads_tensors_alone(node)}
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    found |= {ast.unparse(node) for node in attributes if id(node) not in tensors_alone} & READS
    shells = [
        node
        for node in nodes
        if isinstance(node, ast.keyword) and node.arg in ("shell", "allow_pickle")
    ]
    return found | {str(node.arg) for node in shells}


def test_the_product_unpickles_nothing():
    """No file unpickles, evaluates text or starts a shell, but for the user's own; the search finds planted ones."""
    planted = "torch.load(x)\neval(y)\nnetwork.eval()\nsubprocess.run(z, shell=True)\nre.compile(a)"
    assert unpickling(planted) == {"torch.load", "eval", "shell"}
    assert unpickling("torch.load(x, weights_only=True)\ncompile: bool = True") == set()
    assert unpickling("torch.load(x, weights_only=False)") == {"torch.load"}
    found = {path: unpickling(text) for path, text in sources().items() if path.startswith(PRODUCT)}
    assert len(found) > 50
    of_the_user = {"pipeline/cli/then.py": {"shell"}}  # the command line's own --then
    assert {path: names for path, names in found.items() if names} == of_the_user


@pytest.mark.parametrize(("given", "expected"), [(None, "false"), ("true", "true")])
def test_mlflow_may_not_unpickle_in_our_processes(given, expected, monkeypatch):
    """Importing the product sets MLFLOW_ALLOW_PICKLE_DESERIALIZATION to false, unless the user has set it."""
    if given:
        monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", given)
    code = "import os, pipeline; print(os.environ['MLFLOW_ALLOW_PICKLE_DESERIALIZATION'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


SHELL = [
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"a; touch {CANARY}",
    f"a\ntouch {CANARY}\n",
    f"a && touch {CANARY}",
    f"| touch {CANARY}",
    f"> {CANARY}",
    f"'; touch {CANARY}; '",
    f'"; touch {CANARY}; "',
    f"'$(touch {CANARY})'",
    "{x} {0} {}",
    "${HOME} $HOME ~ * ?",
    "\\",
    "",
    "-e main --name x",
    "é\u202e\x1b[31m",
]


@pytest.fixture
def stub(place, monkeypatch):
    """A `python` first on PATH that writes down what it is given."""
    program = place / "bin" / "python"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable} -IS\nimport json, sys\njson.dump(sys.argv[1:], open('seen.json', 'w'))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return place


@pytest.mark.parametrize("entry", ["main", "sweep", "train", "report", "evaluate"])
def test_a_parameter_of_mlflow_run_arrives_as_it_is(entry, stub):
    """The command that MLflow builds of MLproject hands every value on as one word, and a shell runs none of it."""
    point = load_project(str(ROOT)).get_entry_point(entry)
    assert point.parameters == {}
    for value in SHELL if entry == "sweep" else SHELL[:3]:
        given = {"name": value, f"{value}-key": "y"}
        subprocess.run(
            ["bash", "-c", point.compute_command(given, str(stub))], check=True, timeout=30
        )
        seen = json.loads((stub / "seen.json").read_text())
        assert seen[:2] == ["-m", "pipeline"]
        assert seen[3:] == ["--name", value, f"--{value}-key", "y"]
    assert sorted(path.name for path in stub.iterdir()) == ["bin", "seen.json"]


@pytest.mark.slow
def test_mlflow_run_refuses_what_a_shell_would_run(place, template, tmp_path, monkeypatch):
    """A real `mlflow run` with commands for values: it fails with our one line, its run says FAILED, no canary."""
    furnish(tmp_path, template)
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "HOME": str(tmp_path),
    }
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    canary = tmp_path / CANARY
    values = {
        "name": f"$(touch {canary})",
        "study": f"`touch {canary}`",
        "families": f"mlp; touch {canary}",
        "experiment": f"a\ntouch {canary}\n",
        "set": f"width='8',touch {canary}",
    }
    command = ["mlflow", "run", str(ROOT), "-e", "sweep", "--env-manager", "local"]
    command += [word for key, value in values.items() for word in ("-P", f"{key}={value}")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: --set takes key=value,key=value: got 'touch {canary}'")
    assert {run.info.status for run in client(tmp_path).search_runs(["0"])} == {"FAILED"}
    assert not canary.exists()
    assert not (ROOT / CANARY).exists()
    assert not (tmp_path / "checkpoints").exists()
