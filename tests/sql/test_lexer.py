"SQL as words: where strings, names and comments begin and end is known in one place."

import pytest

from cdc_local.errors import Location, PipelineError
from cdc_local.sql.lexer import closing_bracket, lex, tokenize
from cdc_local.sql.parser import fill_parameters, split_statements


def texts(sql):
    return [word.text for word in tokenize(sql)]


@pytest.mark.parametrize(
    "sql, words",
    [
        ("SELECT 1", ["SELECT", "1"]),
        ("SELECT `it's` FROM t", ["SELECT", "`it's`", "FROM", "t"]),
        ("SELECT `a``b`", ["SELECT", "`a``b`"]),
        ("SELECT 'it''s', 'it\\'s'", ["SELECT", "'it''s'", ",", "'it\\'s'"]),
        ('SELECT "say ""x""", "\\""', ["SELECT", '"say ""x"""', ",", '"\\""']),
        ("SELECT r'\\d' || R\"\\\"", ["SELECT", "r'\\d'", "|", "|", 'R"\\"']),
        ("a.b >= 1.5e3", ["a", ".", "b", ">", "=", "1.5e3"]),
        ("größe -- Maß\n+ 1", ["größe", "+", "1"]),
        ("1 -- no 'string', no `name`, no /* comment\n+ 2", ["1", "+", "2"]),
        ("1 -- goes on \\\n here\n+ 2", ["1", "+", "2"]),
        ("1 /* a /* b */ c */ + 2", ["1", "+", "2"]),
        ("1 /* don't */ + 2", ["1", "+", "2"]),
        ("'/* no comment */' + '-- none'", ["'/* no comment */'", "+", "'-- none'"]),
        ("  \n\t", []),
    ],
)
def test_words_are_as_written_without_space_and_comments(sql, words):
    assert texts(sql) == words


def test_positions_are_those_of_the_text():
    sql = "SELECT /* x */ `a b` FROM t"
    assert all(sql[word.start : word.stop] == word.text for word in tokenize(sql))
    assert [(word.kind, word.start) for word in tokenize(sql)][:2] == [("word", 0), ("name", 15)]


@pytest.mark.parametrize(
    "sql, what, line",
    [
        ("SELECT 1,\n 'a", "string never ends: 'a", 11),
        ('SELECT "a', 'string never ends: "a', 10),
        ("SELECT `a\nFROM t", "name in backticks never ends: `a", 10),
        ("SELECT 1\n/* a /* b */\n", "comment never ends: /* a /* b */", 11),
    ],
)
def test_what_never_ends_is_refused_at_its_line(sql, what, line):
    with pytest.raises(PipelineError, match="never ends") as refused:
        tokenize(sql, Location("a.sql", 10))
    assert what in str(refused.value) and f"a.sql:{line}" in str(refused.value)


def test_comments_are_seen_by_who_asks_for_them():
    found = [(token.kind, token.text) for token in lex("a -- b\n/* c /* d */ */ e")]
    assert found == [("word", "a"), ("comment", "-- b"), ("comment", "/* c /* d */ */"), ("word", "e")]


def test_a_word_says_what_it_is_only_unquoted():
    select, quoted, text = tokenize("select `select` 'select'")
    assert select.says("SELECT") and not quoted.says("SELECT") and not text.says("SELECT")


def test_brackets_are_closed_by_their_own():
    words = tokenize("f(a, (b)) + (c")
    assert words[closing_bracket(words, 1)].stop == len("f(a, (b))")
    assert closing_bracket(words, len(words) - 2) == len(words) - 1


@pytest.mark.parametrize(
    "sql, filled",
    [
        ("SELECT * FROM ${t}", "SELECT * FROM orders"),
        ("SELECT '${t}', \"${t}\", `${t}`", "SELECT 'orders', \"orders\", `orders`"),
        ("SELECT `it's` FROM ${t} -- don't use ${old}", "SELECT `it's` FROM orders -- don't use ${old}"),
        ("/* a /* b */ ${old} */ SELECT ${ t }", "/* a /* b */ ${old} */ SELECT orders"),
        ("SELECT '-- ${t}'", "SELECT '-- orders'"),
    ],
)
def test_parameters_are_filled_in_everywhere_but_in_comments(sql, filled):
    assert fill_parameters(sql, {"t": "orders"}) == filled


def test_a_parameter_without_a_value_is_refused_with_the_nearest_name():
    with pytest.raises(PipelineError, match=r"parameter \$\{sorce\} has no value.*did you mean \$\{source\}"):
        fill_parameters("SELECT ${sorce}", {"source": "a"})


def test_statements_end_at_semicolons_outside_of_strings_and_comments():
    sql = "SELECT ';' /* ; /* ; */ ; */;\n-- ;\nSELECT `;`; ;"
    assert [statement.words[1].text for statement in split_statements(sql)] == ["';'", "`;`"]
