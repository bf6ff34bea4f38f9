"""Tables in text files: separators, encodings, quotation marks; every line is accounted for."""

import re

import pytest

from ser_hf.utils.errors import UserError
from ser_hf.utils.tables import parse_table, read_table


def accounted(table):
    """The number of lines that the account of a table explains."""
    further = sum(last - first for first, last in table.spans)
    return table.heading + len(table.rows) + further + len(table.blank)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_table_has_columns_and_numbered_rows(separator):
    text = 'a, b ,\n1,"x\ny",3\n\n , 2\n'.replace(",", separator)
    table = parse_table("a.csv", text)
    assert table.columns == ["a", "b"]
    assert table.rows == [(2, {"a": "1", "b": "x\ny"}), (5, {"b": "2"})]
    assert (
        table.account == "a.csv: 5 lines: header, 2 rows, 1 more in cells with line breaks, 1 blank"
    )
    assert accounted(table) == table.lines
    assert "the first in lines 2 to 3" in table.notes[0]


def test_an_empty_table_has_no_columns():
    table = parse_table("a.csv", "")
    assert (table.columns, table.rows, table.lines) == ([], [], 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b,a\n", "a.csv: the column 'a' is in its header twice"),
        (",".join(map(str, range(1001))), "a.csv: 1,001 columns"),
        ("a,b\n1,2\n1,2,3\n", "a.csv, line 3: more cells than the header has columns"),
        ("a,b\n" + "x" * 200_000 + "\n", "a.csv, line 2: not valid CSV"),
        ('p,t\na.wav,"oh\nb.wav,no\n', "a.csv, line 2: a cell begins with a quotation mark that"),
        ('p,t\na.wav,"oh\nb.wav,"no\n', "a.csv, line 2: a cell begins with a quotation mark that"),
        (
            'p,t\na.wav,"oh\nb.wav,no"\n',
            "a.csv, line 2: a cell begins with a quotation mark up to line 3, with other rows",
        ),
    ],
)
def test_a_table_that_cannot_be_read_names_file_and_line(text, problem):
    with pytest.raises(UserError, match=re.escape(problem)):
        parse_table("a.csv", text)


def test_a_quotation_mark_in_a_cell_with_tabs_is_a_character():
    lines = [
        "path\tlabel\ttext",
        'a.wav\tsad\t"Oh no',
        'b.wav\tsad\tshe said "no"',
        'c.wav\tsad\t"Oh no, not again',
        'd.wav\tsad\t"a ""quoted"" cell"',
        'e.wav\tsad\t"a tab\tin it"',
        'f.wav\tsad\t"two',
        'lines"',
        'g.wav\t"sad"\tit is 5"',
    ]
    table = parse_table("a.tsv", "\n".join(lines))
    assert [cells["text"] for _, cells in table.rows] == [
        '"Oh no',
        'she said "no"',
        '"Oh no, not again',
        'a "quoted" cell',
        "a tab\tin it",
        "two\nlines",
        'it is 5"',
    ]
    assert table.rows[-1] == (9, {"path": "g.wav", "label": "sad", "text": 'it is 5"'})
    assert accounted(table) == table.lines == 9


def test_a_comma_in_a_table_with_one_column_belongs_to_the_cell():
    table = parse_table("a.csv", 'path\nHello, world.wav\n"b.wav"\n"c.wav\n')
    assert [cells["path"] for _, cells in table.rows] == ["Hello, world.wav", "b.wav", '"c.wav']


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_byte_order_mark(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes("päth,läbel\r\na.wav,fröhlich\r\n".encode(encoding))
    assert read_table(path).rows == [(2, {"päth": "a.wav", "läbel": "fröhlich"})]


def test_other_encodings_are_not_guessed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("path,label\na.wav,x\na.wav,fröhlich\n".encode("cp1252"))
    with pytest.raises(UserError, match="a.csv, line 3: cannot be read as UTF-8 text"):
        read_table(path)
    with pytest.raises(UserError, match="no such file"):
        read_table(tmp_path / "b.csv")
    with pytest.raises(UserError, match="not a file"):
        read_table(tmp_path)


def test_a_first_line_of_excel_names_the_separator():
    table = parse_table("a.csv", "sep=;\r\na,x;b\r\n1;2\r\n")
    assert table.rows == [(3, {"a,x": "1", "b": "2"})]
    assert accounted(table) == table.lines == 3


def test_columns_are_found_in_another_spelling():
    table = parse_table("a.csv", "Path,\ufeffLABEL ,id\na,b,c\n").named(["path", "label", None])
    assert table.columns == ["path", "label", "id"]
    assert table.rows == [(2, {"path": "a", "label": "b", "id": "c"})]
    both = parse_table("a.csv", "Path,PATH\na,b\n")
    with pytest.raises(UserError, match="'Path' and 'PATH' differ in their spelling only"):
        both.named(["path"])
    assert both.named(["Path"]).columns == ["Path", "PATH"]


def test_rows_with_fewer_cells_are_noted():
    table = parse_table("a.csv", "a,b,c,\n1,2,3\n1\n1,2\n")
    assert table.short == (3, 4)
    assert "2 rows have fewer cells than the header (the first in line 3)" in table.notes[0]
