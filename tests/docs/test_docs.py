"""The documents say what is: links lead somewhere, commands and options exist, tables stand under what printed them."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from cli.main import GROUPS, invoke
from tests.places import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MAX_WORDS = 700


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if "://" in target or target.startswith("#"):
            continue
        assert (document.parent / target.split("#")[0]).exists(), f"{document.name} links to {target}"


def commands_in(document: Path) -> list[str]:
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:console|sh|bash)\n(.*?)```", text, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.lstrip("$ ").strip() for line in lines if line.lstrip("$ ").startswith("itemrec ")]


def documented_commands() -> list[tuple[str, str]]:
    return [(d.name, c) for d in DOCUMENTS for c in commands_in(d)]


@pytest.mark.parametrize(("document", "command"), documented_commands(), ids=lambda v: v[:60])
def test_documented_commands_exist_with_their_options(
    document: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command.split("|")[0].split("&&")[0].split(" #")[0].split(" > ")[0])[1:]
    path = words[:2] if words[0] in GROUPS else words[:1]
    if words[0].startswith("-"):
        return
    assert invoke([*path, "--help"]) == 0, f"{document}: {command}"
    text = capsys.readouterr().out
    for option in (w.split("=")[0] for w in words if w.startswith("--")):
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text), f"{document}: {command}: no {option}"


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(p.name[:4]) for p in (ROOT / "docs" / "decisions").glob("0*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("document", sorted((ROOT / "docs" / "decisions").glob("0*.md")), ids=lambda p: p.stem)
def test_a_decision_is_one_page_and_says_when_to_revisit_it(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert len(re.findall(r"\w[\w'.-]*", text)) <= MAX_WORDS
    assert text.count("**Revisit when**") == 1
    assert f"({document.name})" in (document.parent / "README.md").read_text(encoding="utf-8")


def measured_tables(document: Path) -> list[tuple[str, list[str]]]:
    """The first line of every table, with the commands of the block that stands before it in the same section."""
    found: list[tuple[str, list[str]]] = []
    for section in re.split(r"^#+ ", document.read_text(encoding="utf-8"), flags=re.MULTILINE):
        commands: list[str] = []
        for block in re.split(r"\n\n+", section):
            if block.startswith("```console\n"):
                commands = [line.removeprefix("$ ") for line in block.splitlines()[1:-1]]
            elif block.startswith("|"):
                found.append((block.splitlines()[0], commands))
    return found


@pytest.mark.parametrize("document", sorted((ROOT / "docs" / "measurements").glob("*.md")), ids=lambda p: p.stem)
def test_every_measured_table_stands_under_a_command_that_exists(document: Path) -> None:
    tables = measured_tables(document)
    if document.name == "README.md":
        listed = set(re.findall(r"\]\(([a-z-]+\.md)\)", document.read_text(encoding="utf-8")))
        assert listed == {p.name for p in document.parent.glob("*.md")} - {"README.md"}
        return
    assert tables
    for head, commands in tables:
        assert commands, f"no command above {head}"
        for command in commands:
            words = shlex.split(command)
            assert words[0] == "python", command
            module = words[2].replace(".", "/") + ".py" if words[1] == "-m" else words[1]
            assert (ROOT / module).is_file(), command
            source = (ROOT / module).read_text(encoding="utf-8")
            for option in (w.split("=")[0] for w in words if w.startswith("--")):
                assert f'"{option}"' in source, f"{command}: no {option}"


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    wanted = set(re.findall(r"`?make ([a-z-]+)`?", readme))
    assert {"demo", "test"} <= wanted
    for target in wanted:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"make {target}"


def test_serving_code_never_names_tensorflow_as_an_import() -> None:
    found = subprocess.run(
        ["grep", "-rnE", r"^\s*(import|from)\s+(tensorflow|keras)", "retrieval", "cli", "itemrec"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""


def test_nobody_is_told_to_fetch_itemrec_from_an_index_that_does_not_have_it() -> None:
    folders = ("itemrec", "retrieval", "trainer", "cli", "benchmarks", "docs", "deploy")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    told = re.compile(r"(?:pip install|pipx install|uv tool install|uv add)[^\n`]*?[ '\"]itemrec(?![\w. ]*@)")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile", *files):
        if path.suffix in (".py", ".md", ".yaml", ".toml", ""):
            found = told.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None, f"{path.relative_to(ROOT)}: {found[0]}"
    assert told.search("pip install 'itemrec[train]'")
    assert told.search("pip install itemrec")
    assert not told.search("pip install '/path/to/itemrec[train]'")
