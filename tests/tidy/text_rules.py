"""Rules on files that are not Python: SQL, fragments of the changelog, and what no file may say."""

import re
from collections.abc import Iterator

from tests.tidy.source import ROOT_FOLDERS, Finding, Rule, Source

QUERY_NAME = re.compile(r"--\s*name\s*:\s*(.*)")
LOWER_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
KEYWORDS = re.compile(
    r"\b(?:SELECT|INSERT|UPDATE|DELETE|FROM|WHERE|CREATE|ALTER|DROP|TABLE|INDEX|WITH|VALUES|RETURNING|JOIN)\b"
)


def code_lines(text: str) -> list[str]:
    """The lines without comments and without the insides of quotes, so that only SQL is left."""
    text = re.sub(r"--[^\n]*", "", text)
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL)
    text = re.sub(r"'(?:[^']|'')*'", lambda m: "''" + "\n" * m[0].count("\n"), text)
    return text.split("\n")


def query_name(source: Source) -> Iterator[Finding]:
    """Each query of the store has a name of its own, verb first, in lower case."""
    if not source.path.endswith(".sql") or not source.within("server"):
        return
    name, ended = "", False
    seen: set[str] = set()
    for number, (line, code) in enumerate(zip(source.text.split("\n"), code_lines(source.text), strict=True), 1):
        if found := QUERY_NAME.match(line.strip()):
            name, ended = found[1].strip(), False
            if not LOWER_NAME.fullmatch(name):
                yield source.at(number, f"'{name}' is not a verb_noun in lower case")
            if name in seen:
                yield source.at(number, f"'{name}' names two queries")
            seen.add(name)
        elif code.strip():
            if not name or ended:
                yield source.at(number, "a query without a -- name: line")
                name, ended = name or "?", False
            ended = code.rstrip().endswith(";")


def sql_case(source: Source) -> Iterator[Finding]:
    """SQL is written in lower case."""
    if not source.path.endswith(".sql"):
        return
    for number, code in enumerate(code_lines(source.text), 1):
        if found := KEYWORDS.search(code):
            yield source.at(number, f"{found[0]} in upper case")


FRAGMENT = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\.(?:added|changed|fixed|removed|security)\.md")


def fragment_name(source: Source) -> Iterator[Finding]:
    """A fragment says by its name what kind of change it is."""
    if source.within("docs/changes") and source.name != "README.md" and not FRAGMENT.fullmatch(source.name):
        yield source.at(1, "a fragment is named short-name.kind.md, see docs/changes/README.md")


# Put together from parts, so that this file does not say what it forbids.
HOMES = ("home", "root", "Users", "work")
LEAK = re.compile(rf"(?<![\w.\-}}])/(?:{'|'.join(HOMES)})/\w|\b[A-Z]:\\+Users\\", re.MULTILINE)


def machine_path(source: Source) -> Iterator[Finding]:
    """No file knows the machine on which it was written."""
    for number, line in enumerate(source.lines, 1):
        if found := LEAK.search(line):
            yield source.at(number, f"a path of one machine: {found[0]}…")


TEXT_RULES: tuple[Rule, ...] = (query_name, sql_case, fragment_name, machine_path)


def missing_readmes(sources: list[Source]) -> list[str]:
    """The root folders that do not say what they are."""
    paths = {source.path for source in sources if source.text.strip()}
    return [folder for folder in ROOT_FOLDERS if f"{folder}/README.md" not in paths]
