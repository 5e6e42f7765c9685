"""Registered models: what MLflow loads and serves, without this project, predicts as we do, and refuses the rest."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image
from support.commands import wait_until
from support.datasets import HOSTILE, noise, save
from support.endtoend import client, furnish, pipeline
from support.networks import make_found, save_checkpoint
from support.servers import Server

from pipeline.inference import evaluate
from pipeline.stores import locations

# MLflow warns of types in its own modules when they are imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint.*:UserWarning")
CLASSES = (*HOSTILE, "猫")


@pytest.fixture(scope="module")
def registered(tmp_path_factory, template):
    """A folder in which a trained digit network and a colour network of hostile names are registered."""
    folder = furnish(tmp_path_factory.mktemp("registered"), template)
    given = save_checkpoint(folder / "given", make_found("cnn", (3, 8, 12), CLASSES, "mnist"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PIPELINE_DATA_DIR", "nowhere")
        assert pipeline("train", "--family", "mlp", "--width", "8", "--epochs", "1") == 0
        (run,) = client(folder).search_runs(["0"])
        assert pipeline("register", "--run", run.info.run_id, "--as", "digits") == 0
        assert (
            pipeline("register", "--checkpoint", str(given), "--as", "colour", "--alias", "best")
            == 0
        )
    return folder


@pytest.fixture
def inside(registered, monkeypatch):
    """Be in that folder, with MLflow's own functions on its store."""
    monkeypatch.chdir(registered)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", locations.sqlite_url(registered / "mlflow.db"))
    return registered


def load(uri):
    """As a user of MLflow does who has never heard of this project."""
    return mlflow.pyfunc.load_model(uri)


RAW = noise(3, 5, 8, 12, 3).numpy()


def test_it_predicts_as_we_do(inside, capsys):
    """Class, index and probabilities of MLflow's model are those of `pipeline predict`, however it is named."""
    files = [str(inside / f"{number}.png") for number in range(5)]
    for file, pixels in zip(files, RAW, strict=True):
        Image.fromarray(pixels).save(file)
    found = load("models:/colour@best").predict(RAW)
    assert list(found.columns) == ["class", "index", "probability", "probabilities"]
    for which in (
        ["--checkpoint", "given"],
        ["--model", "models:/colour@best"],
        ["--model", "models:/colour/1"],
    ):
        capsys.readouterr()
        assert pipeline("predict", *which, "--top", "9", "--format", "json", *files) == 0
        for row, ours in zip(
            json.loads(capsys.readouterr().out), found.to_dict("records"), strict=True
        ):
            assert (row["class"], CLASSES[ours["index"]]) == (ours["class"], ours["class"])
            shares = {one["class"]: one["probability"] for one in row["top"]}
            assert ours["probabilities"] == pytest.approx(
                [shares[name] for name in CLASSES], abs=1e-6
            )
            assert ours["probability"] == max(ours["probabilities"])


def test_whole_numbers_of_any_type_are_taken(inside):
    """Arrays of larger integers, as of JSON, give the same as uint8."""
    model = load("models:/colour@best")
    expected = model.predict(RAW)
    for values in (
        RAW.astype(np.int64),
        RAW.astype(np.uint16),
        np.array(RAW.tolist(), dtype=object),
    ):
        assert model.predict(values).equals(expected)
    assert load("models:/colour@best").predict(RAW * 0).shape == (5, 4), "a black image is an image"


REFUSED = {
    "scaled to 0..1": (RAW / 255, "whole numbers"),
    "scaled, float32": ((RAW / 255).astype(np.float32), "whole numbers"),
    "whole floats": (RAW.astype(float), "whole numbers"),
    "scaled, as of JSON": (np.array((RAW / 255).tolist(), dtype=object), "whole numbers"),
    "true and false": (RAW > 9, "whole numbers"),
    "below 0": (RAW.astype(int) - 1, "0 to 255"),
    "above 255": (RAW.astype(int) + 1, "0 to 255"),
    "text": (RAW.astype(str), "whole numbers"),
    "planes first": (RAW.transpose(0, 3, 1, 2), r"shape \(images, 8, 12, 3\)"),
    "one image": (RAW[0], r"shape \(images, 8, 12, 3\)"),
    "grey": (RAW[..., 0], r"shape \(images, 8, 12, 3\)"),
    "another size": (RAW[:, :4], r"shape \(images, 8, 12, 3\)"),
    "none": (RAW[:0], r"shape \(images, 8, 12, 3\)"),
    "a list": (RAW.tolist(), "schema"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_raw_image_is_refused(inside, case):
    """Scaled images above all, and wrong shapes and values: a clear message, never an answer."""
    values, message = REFUSED[case]
    with pytest.raises(mlflow.MlflowException, match=message):
        load("models:/colour@best").predict(values)


def test_scores_of_the_registered_network(inside, capsys):
    """`pipeline evaluate --model` gives what the run itself is given."""
    (run,) = client(inside).search_runs(["0"])
    expected = evaluate.evaluate(
        locations.locate(), inside, split="val", run_id=run.info.run_id
    ).scores
    found = evaluate.evaluate(
        locations.locate(), inside, split="val", model="models:/digits@champion"
    ).scores
    assert (found.accuracy, found.loss) == (expected.accuracy, expected.loss)
    assert pipeline("evaluate", "--model", "models:/digits@champion", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["run"] == run.info.run_id


def test_the_version_says_what_it_is(inside):
    """It has the run, a signature, an example, the class names and the image size; nothing in it is a pickle."""
    version = client(inside).get_model_version_by_alias("digits", "champion")
    (run,) = client(inside).search_runs(["0"])
    assert version.run_id == run.info.run_id
    assert run.info.status == "FINISHED"
    assert version.tags["sweep.image_size"] == "8x8x1"
    assert version.tags["sweep.classes"] == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    model = load("models:/digits@champion")
    assert model.metadata.metadata["classes"] == list("0123456789")
    assert model.metadata.metadata["shape"] == [8, 8, 1]
    assert model.metadata.signature.outputs.input_names() == [
        "class",
        "index",
        "probability",
        "probabilities",
    ]
    assert model.input_example.shape == (1, 8, 8, 1)
    assert model.predict(model.input_example)["index"][0] in range(10)
    hostile = client(inside).get_model_version_by_alias("colour", "best")
    assert hostile.run_id is None or hostile.run_id == ""
    assert not list(inside.rglob("*.pkl"))


def test_registering_again_makes_a_version_and_moves_the_alias(inside, capsys):
    """The second is version 2, and it is the champion; the first stays."""
    before = {version.version for version in client(inside).search_model_versions("name = 'again'")}
    assert before == set()
    for number in (1, 2):
        assert pipeline("register", "--checkpoint", "given", "--as", "again") == 0
        assert f"again version {number} is models:/again@champion" in capsys.readouterr().out
        assert str(client(inside).get_model_version_by_alias("again", "champion").version) == str(
            number
        )
    assert len(client(inside).search_model_versions("name = 'again'")) == 2


BAD = {
    "no such model": ["predict", "--model", "models:/nobody@champion", "0.png"],
    "no such version": ["predict", "--model", "models:/digits/9", "0.png"],
    "no such alias": ["evaluate", "--model", "models:/digits@nobody"],
    "no URI": ["evaluate", "--model", "digits"],
    "a name with a slash": ["register", "--checkpoint", "given", "--as", "a/b"],
    "a name that controls terminals": ["register", "--checkpoint", "given", "--as", "\x1b[31mred"],
    "an alias that is a version": ["register", "--checkpoint", "given", "--alias", "v1"],
}


@pytest.mark.parametrize("words", BAD.values(), ids=BAD)
def test_what_there_is_not_is_refused_in_a_line(inside, capsys, words):
    """Exit 2, one line, and nothing new in the registry."""
    save(inside / "0.png")
    before = len(client(inside).search_model_versions())
    assert pipeline(*words) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert len(client(inside).search_model_versions()) == before


FOREIGN = """
import mlflow, numpy
class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: numpy.ndarray):
        return model_input
mlflow.models.set_model(Echo())
"""


def test_a_model_that_is_not_ours(inside, capsys):
    """One of another program is not run to find out what it is: exit 2, and it says so."""
    code = inside / "foreign.py"
    code.write_text(FOREIGN)
    mlflow.pyfunc.save_model(
        inside / "foreign", python_model=str(code), pip_requirements=[], input_example=None
    )
    code.write_text("raise SystemExit('it was run')\n")
    shutil.copy(code, inside / "foreign" / "foreign.py")
    assert pipeline("evaluate", "--model", str(inside / "foreign")) == 2
    assert "was not made by `pipeline register`" in capsys.readouterr().err


ELSEWHERE = """
import sys
class Nobody:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pipeline", "models", "sweeps"):
            raise ImportError(name + " is not installed here")
sys.meta_path.insert(0, Nobody())
import cloudpickle, numpy, mlflow
cloudpickle.load = cloudpickle.loads = None
print(mlflow.pyfunc.load_model("models:/digits@champion").predict(numpy.zeros((1, 8, 8, 1), "uint8"))["class"][0])
"""


@pytest.mark.slow
def test_it_needs_nothing_of_this_project(inside):
    """Where none of our packages can be imported, nor what unpickles, MLflow loads it and gets its class."""
    expected = load("models:/digits@champion").predict(np.zeros((1, 8, 8, 1), np.uint8))["class"][0]
    environment = {
        **os.environ,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        env=environment,
        cwd=inside,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split()[-1:] == [expected], done.stderr


@contextlib.contextmanager
def served(words, port):
    """Run the printed line of `mlflow models serve`; end all of it at the end."""
    bin_folder = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with Path("serve.txt").open("a") as log:
        process = subprocess.Popen(
            words, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until(lambda: answers(port) or process.poll() is not None)
        assert process.poll() is None, Path("serve.txt").read_text()
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
        wait_until(lambda: not group_lives(process.pid))  # it leaves no process behind


def answers(port):
    """Whether a server of this port answers."""
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
        return True
    return False


def group_lives(group):
    """Whether any process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_served_by_mlflow_it_answers_images(inside, capsys):
    """The printed lines, typed as they are: the server, `pipeline predict --url`, and curl. Scaled images get a 400."""
    (run,) = client(inside).search_runs(["0"])
    assert pipeline("register", "--run", run.info.run_id, "--as", "served") == 0
    lines = dict(
        line.split(":", 1) for line in capsys.readouterr().out.splitlines() if ": " in line
    )
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve, curl = (
        shlex.split(lines[name].replace("5001", str(port))) for name in ("serve", "curl")
    )
    url = f"http://127.0.0.1:{port}"
    files = [str(save(inside / "more" / f"{number}.png", number, (11, 8))) for number in range(3)]
    with served(serve[1:], port):
        outputs = []
        for which in (["--url", url], ["--run", run.info.run_id]):
            assert pipeline("predict", *which, "--format", "json", *files) == 0
            outputs.append(json.loads(capsys.readouterr().out))
        assert outputs[0] == outputs[1]
        asked = json.loads(Path(curl[curl.index("-d") + 1].removeprefix("@")).read_text())
        if shutil.which("curl"):
            answer = subprocess.run(curl, capture_output=True, check=True).stdout
        else:
            request = urllib.request.Request(
                curl[-1], json.dumps(asked).encode(), {"Content-Type": "application/json"}
            )
            answer = urllib.request.urlopen(request).read()
        (prediction,) = json.loads(answer)["predictions"]
        assert prediction["class"] == str(prediction["index"])
        for key in ("inputs", "instances"):
            scaled = {key: (np.array(asked["inputs"]) / 255).tolist()}
            request = urllib.request.Request(
                curl[-1], json.dumps(scaled).encode(), {"Content-Type": "application/json"}
            )
            with pytest.raises(urllib.error.HTTPError, match="400") as refused:
                urllib.request.urlopen(request)
            assert "whole numbers from 0 to 255" in json.load(refused.value)["message"]
    assert pipeline("predict", "--url", url, files[0]) == 5
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_through_a_tracking_server(folder, monkeypatch, capsys):
    """A run of a tracking server is registered there, found by its alias, and predicts as the run does."""
    server = Server(folder)
    server.start()
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        assert pipeline("train", "--family", "mlp", "--width", "8", "--epochs", "1") == 0
        run = re.search("run ([0-9a-f]{32})", capsys.readouterr().out)[1]
        assert pipeline("register", "--run", run, "--as", "digits") == 0
        assert (
            f"serve:   MLFLOW_TRACKING_URI={server.uri} mlflow models serve"
            in capsys.readouterr().out
        )
        picture, outputs = str(save(folder / "it.png")), []
        for which in (["--run", run], ["--model", "models:/digits@champion"]):
            assert pipeline("predict", *which, "--format", "json", picture) == 0
            outputs.append(capsys.readouterr().out)
        assert outputs[0] == outputs[1]
    finally:
        server.stop()
    assert pipeline("register", "--run", run, "--as", "digits") == 5
