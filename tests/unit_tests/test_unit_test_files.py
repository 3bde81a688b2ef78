"What a file of unit tests may say, and what is said of one that says something else."

import pytest

from cdc_local.errors import UsageError
from cdc_local.unit_tests.declarations import GivenFile, GivenTable, read_unit_tests
from cdc_local.unit_tests.settings import find_settings

GOOD = """\
pipeline:
  sources: [etl]
tests:
  - name: first
    description: more words
    model: customers
    configuration: {limit: 3, strict: true}
    given:
      - table: changes
        schema: id INT, city STRING
        mode: overwrite
        rows:
          - {id: 1, city: Rome, at: 2026-03-01 08:00:00, day: 2026-03-01}
          - id: 2
            city: null
      - table: ${silver}.others
        format: csv
        rows: |
          id, city
          1,  "Rome, Italy"
          2,
      - path: /Volumes/main/default/raw/1.json
        text: "{"
    expect:
      rows: []
      dropped: 1
      expectations:
        valid: {passed: 1}
  - name: second
    model: silver.sql
    steps:
      - given: []
        expect: {error: no such thing}
      - expect:
          tables:
            - table: quarantine
              rows: [{id: 1}]
"""


def written(tmp_path, text):
    path = tmp_path / "shop.unit_tests.yml"
    path.write_text(text)
    return path


def test_all_that_a_file_may_say_is_read(tmp_path):
    first, second = read_unit_tests(written(tmp_path, GOOD)).tests
    changes, others, file = first.given
    assert (changes.schema, changes.overwrites) == ("id INT, city STRING", True)
    assert [str(value) for value in changes.rows[0].values.values()] == [
        "1",
        "Rome",
        "2026-03-01 08:00:00",
        "2026-03-01",
    ]
    assert changes.rows[1].locate("city").line == 15
    assert [row.values for row in others.rows] == [
        {"id": "1", "city": "Rome, Italy"},
        {"id": "2", "city": None},
    ]
    assert isinstance(changes, GivenTable) and isinstance(file, GivenFile)
    assert first.configuration == {"limit": "3", "strict": "true"}
    assert first.steps[0].expected.rules[0].counts["passed"].value == 1
    assert second.steps[0].expected.error == "no such thing"
    assert [rows.dataset for rows in second.steps[1].expected.rows] == ["quarantine"]


HEAD = "tests:\n  - name: one\n    model: t\n"


@pytest.mark.parametrize(
    "text, line, words",
    [
        ("", 1, "a file of unit tests has no 'tests'"),
        ("unit_tests: []\n", 1, "a file of unit tests has no key 'unit_tests'; did you mean tests?"),
        ("tests: {name: one}\n", 1, "'tests' is {'name': 'one'}; write a list"),
        ("tests:\n  - name: one\n", 2, "a test has no 'model'"),
        (HEAD, 2, "test 'one' expects nothing"),
        (HEAD + "    givn: []\n    expect: {rows: []}\n", 4, "a test has no key 'givn'; did you mean given?"),
        (HEAD + "    expect: {row: []}\n", 4, "what is expected has no key 'row'; did you mean rows?"),
        (HEAD + "    expect:\n      rows:\n        - 1\n", 6, "a row is 1; write column: value"),
        (HEAD + "    expect: {dropped: many}\n", 4, "'dropped' is 'many'; write a number of rows"),
        (
            HEAD + "    expect: {rows: [], format: xml}\n",
            4,
            "'format' is 'xml'; write one of: dict, csv, sql",
        ),
        (HEAD + "    expect: {rows: SELECT 1, format: sql}\n", 4, "rows are expected as SQL"),
        (HEAD + "    expect: {expectations: {valid: {kept: 1}}}\n", 4, "has no key 'kept'"),
        (HEAD + "    expect: {rows: []}\n    steps: []\n", 4, "test 'one' has steps, which expect"),
        (HEAD + "    steps: []\n", 4, "test 'one' has no steps"),
        (HEAD + "    given:\n      - input: ref('x')\n    expect: {rows: []}\n", 5, "no key 'input'"),
        (
            HEAD + "    given:\n      - table: x\n        mode: replace\n    expect: {rows: []}\n",
            6,
            "append, overwrite",
        ),
        (HEAD + "    given: [{table: x, text: y}]\n    expect: {rows: []}\n", 4, "a table is given as text"),
        (HEAD + "    given: [{path: /Volumes/x}]\n    expect: {rows: []}\n", 4, "neither rows nor text"),
        (
            HEAD + "    given: [{path: /Volumes/x, rows: []}]\n    expect: {rows: []}\n",
            4,
            "suffix names no format",
        ),
        (HEAD + "    given: [{table: x, fixture: x.csv}]\n    expect: {rows: []}\n", 4, "No such file"),
        (
            HEAD + '    given: [{table: x, rows: "a,b\\n1"}]\n    expect: {rows: []}\n',
            4,
            "1 values for 2 columns",
        ),
        (
            HEAD + "    expect: {rows: []}\n  - name: one\n    model: t\n    expect: {rows: []}\n",
            5,
            "named 'one'",
        ),
        (HEAD + "    model: u\n    expect: {rows: []}\n", 4, "found duplicate key"),
        ("tests: [\n", 2, "expected the node content"),
        ("pipeline: {sources: [etl], folder: x}\ntests: []\n", 1, "a pipeline has no key 'folder'"),
    ],
)
def test_a_mistake_names_its_line_its_key_and_what_is_allowed(tmp_path, text, line, words):
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_unit_tests(path)
    assert (caught.value.location.file, caught.value.location.line) == (str(path), line)
    assert words in str(caught.value)


def test_rows_may_stand_in_a_file_beside_the_tests(tmp_path):
    (tmp_path / "x.csv").write_text("id,city\n1,Rome\n")
    text = HEAD + "    given: [{table: x, fixture: x.csv}]\n    expect: {rows: []}\n"
    [test] = read_unit_tests(written(tmp_path, text)).tests
    assert test.given[0].rows[0].values == {"id": "1", "city": "Rome"}


def made(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_a_pipeline_is_found_by_where_its_tests_lie(tmp_path):
    root = made(tmp_path, "transformations/silver/a.sql", "tests/test_x.py", "etl/b.sql", "etl/test_b.py")

    def sources(name):
        return find_settings(root / name, root).sources

    whole = (str(root / "transformations"),)
    assert sources("transformations/silver/a.unit_tests.yml") == whole
    assert sources("tests/test_x.py") == whole
    assert sources("tests/x.unit_tests.yml") == whole
    assert sources("etl/b.unit_tests.yml") == (str(root / "etl/b.sql"),)


BUNDLE = """\
bundle: {name: shop}
targets: {dev: {default: true}}
resources:
  pipelines:
    orders:
      catalog: main
      schema: sales
      libraries: [{glob: {include: orders/**}}]
      configuration: {limit: 3}
    people:
      libraries: [{file: {path: people/people.sql}}]
"""


def test_a_bundle_says_sources_names_and_configuration_of_the_pipeline_beside_the_tests(tmp_path):
    root = made(tmp_path, "orders/a.sql", "people/people.sql")
    (root / "databricks.yml").write_text(BUNDLE)
    orders = find_settings(root / "orders/a.unit_tests.yml", root)
    assert (orders.catalog, orders.schema, orders.configuration) == ("main", "sales", {"limit": "3"})
    people = find_settings(root / "people/people.unit_tests.yml", root)
    assert [source.endswith("people.sql") for source in people.sources] == [True]


def test_a_pipeline_of_a_bundle_is_named_where_several_lie_beside_the_tests(tmp_path):
    root = made(tmp_path, "orders/a.sql", "people/people.sql")
    (root / "databricks.yml").write_text(BUNDLE)
    with pytest.raises(UsageError, match="2 pipelines of the bundle .*{name: orders or people"):
        find_settings(root / "all.unit_tests.yml", root)
    path = root / "all.unit_tests.yml"
    path.write_text("pipeline: {name: order}\ntests: []\n")
    with pytest.raises(UsageError, match="no pipeline order in the bundle .*did you mean orders?"):
        find_settings(path, root, read_unit_tests(path).pipeline)
    path.write_text("pipeline: {name: orders, schema: other, configuration: {limit: 4}}\ntests: []\n")
    settings = find_settings(path, root, read_unit_tests(path).pipeline)
    assert (settings.schema, settings.configuration) == ("other", {"limit": "4"})
