"""The format's JSON schema and its page are derived from the types, and those in docs/ are up to date."""

import json
from importlib import resources
from pathlib import Path

import pytest
import yaml

from sweeps.spec import schema
from sweeps.spec.study_spec import StudySpec
from sweeps.spec.studyfile import parse_study
from sweeps.trial import config_fields

DOCS = Path(__file__).parents[3] / "docs"
SHIPPED = sorted(
    f.name for f in resources.files("sweeps.studies").iterdir() if f.name.endswith(".yaml")
)


def test_the_page_is_up_to_date():
    """docs/study-file.md is what `pipeline studies --reference` prints."""
    assert (DOCS / "study-file.md").read_text("utf-8").rstrip() == schema.markdown().rstrip()


def test_the_schema_is_up_to_date():
    """docs/study.schema.json is what `pipeline studies --schema` prints."""
    assert json.loads((DOCS / "study.schema.json").read_text("utf-8")) == json.loads(
        json.dumps(schema.json_schema())
    )


def test_the_page_names_every_key_and_field():
    """Each key of a study file and each field that somebody gives stands in a table of the page."""
    page = schema.markdown()
    hidden = {name for name, field in config_fields().items() if field.computed}
    for name in {*StudySpec.model_fields, *config_fields()} - {"redraw", *hidden}:
        assert f"| `{name}` |" in page, name


def test_the_pages_example_is_a_study():
    """The example can be read as it stands."""
    text = schema.markdown().split("```yaml\n")[2].split("```")[0]
    assert parse_study(text, "example").reference[0].test_acc == 0.9912


@pytest.mark.parametrize("name", SHIPPED)
def test_the_schema_takes_every_shipped_study(name):
    """A shipped study uses only keys that the schema knows, at every level."""
    study = yaml.safe_load(resources.files("sweeps.studies").joinpath(name).read_text("utf-8"))
    known = schema.json_schema()
    assert set(study) <= set(known["properties"])
    for part in ("fixed", "search"):
        assert set(study.get(part, {})) <= set(known["$defs"][part.capitalize()]["properties"])
    for reference in study.get("reference", []):
        assert set(reference) <= set(known["$defs"]["Reference"]["properties"])
