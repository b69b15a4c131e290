"""Values from the command line arrive as the bytes they are."""

import io
from pathlib import Path

import pytest

from perdure.cli.exits import CommandError, Exit
from perdure.cli.inputs import read_arguments, read_keywords, read_pairs


class Standard(io.TextIOWrapper):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))


def test_no_input_is_no_arguments() -> None:
    """Without --input there is an empty list."""
    assert b"[]" == bytes(read_arguments(()))


def test_each_input_is_an_argument() -> None:
    """Several inputs make one list, bytes unchanged."""
    assert b'["Ada",1.0,{"a": 1.50}]' == bytes(read_arguments(['"Ada"', "1.0", '{"a": 1.50}']))


def test_a_file_is_an_argument(tmp_path: Path) -> None:
    """@FILE is replaced by what the file holds."""
    file = tmp_path / "order.json"
    file.write_text('{"customer": "Ada"}\n')
    assert b'[{"customer": "Ada"}]' == bytes(read_arguments([f"@{file}"]))


def test_standard_input_is_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """@- is replaced by what comes on standard input."""
    monkeypatch.setattr("sys.stdin", Standard(b"[1, 2]"))
    assert b"[[1, 2]]" == bytes(read_arguments(["@-"]))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is a wrong command line."""
    with pytest.raises(CommandError, match=r"cannot read .*nothing\.json") as caught:
        read_arguments([f"@{tmp_path}/nothing.json"])
    assert Exit.USAGE == caught.value.status


def test_a_bare_word_gets_a_hint() -> None:
    """Whoever forgets the quotes of a string is told how to write it."""
    with pytest.raises(CommandError, match="""--input '"Ada"'"""):
        read_arguments(["Ada"])


@pytest.mark.parametrize("text", ["{", "", "nan", '"a', "\udcff"])
def test_what_is_no_json_is_refused(text: str) -> None:
    """Anything but JSON is refused before the service is asked."""
    with pytest.raises(CommandError, match="not valid JSON"):
        read_arguments([text])


def test_keywords_are_an_object() -> None:
    """Keyword arguments are a JSON object or absent."""
    assert b'{"gift":true}' == bytes(read_keywords('{"gift":true}'))
    assert b"null" == bytes(read_keywords(None))


def test_a_list_is_no_keywords() -> None:
    """A list in place of an object is refused."""
    with pytest.raises(CommandError, match="takes a JSON object"):
        read_keywords("[1]")


def test_a_memo_is_decoded() -> None:
    """A mapping is read as such."""
    assert {"note": [1, None]} == read_pairs(['{"note": [1, null]}'], "--memo")
