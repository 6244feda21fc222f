"""What the READMEs say is so: commands, links, scores, names and messages."""

import ast
import gzip
import hashlib
import os
import re
import shlex
import subprocess
from contextlib import suppress
from functools import cache
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

from competition.__main__ import parser
from competition.config import RECIPES
from competition.runs.files import read_table
from competition.runs.folders import PACKAGE, ROOT
from tests.conftest import lacking

README = ROOT / "README.md"
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
PUBLIC_BEST = "0.99757"
COMMAND = re.compile(r"make\b|\S*python3? -m competition\b")
PARSER = parser()
MESSAGES = re.compile(r"^\| It says \|.+?(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)  # the tables of them


@cache
def committed():
    """The files that git keeps, or will: what .gitignore leaves out is not there for others."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        lacking("a git repository is needed, to know which files belong to it")
    return {path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()}


@cache
def tokens(page):
    """A page's blocks and what is in their lines, in order."""
    blocks = MarkdownIt().enable("table").parse(page.read_text("utf-8"))
    return [token for block in blocks for token in (block, *(block.children or []))]


def pages():
    return sorted(path for path in committed() if path.suffix == ".md")


def listed(page):
    """The commands in a page's listings."""
    for token in tokens(page):
        for line in token.content.splitlines() if token.type == "fence" else ():
            yield from (part for part in line.strip().removeprefix("$ ").split(" && ") if COMMAND.match(part))


def quoted(page):
    return [token.content for token in tokens(page) if token.type == "code_inline"]


@cache
def expanded(words):
    """What make would start; it knows none of the variables of a make that runs these tests."""
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, env=clean, capture_output=True, text=True)
    return done.stdout.replace("\\\n", " ") if done.returncode == 0 else f"make: {done.stderr}"


def parses(words):
    with suppress(SystemExit):
        return bool(PARSER.parse_args(words))
    return False


def wrong_in(command):
    """What a command does wrong, None where it is right: its target, its variables, its flags."""
    words = tuple(shlex.split(command, comments=True))
    if "competition" in words:
        return None if parses(words[words.index("competition") + 1 :]) else "flags"
    started = expanded(words[1:])
    if started.startswith("make: "):
        return started
    idle = [word for word in words[1:] if "=" in word and expanded(tuple(w for w in words[1:] if w != word)) == started]
    if idle:
        return f"the target does not know {idle}"
    lines = [shlex.split(line) for line in started.splitlines() if " -m competition " in line]
    return None if all(parses(line[line.index("competition") + 1 :]) for line in lines) else f"flags of {lines}"


def wrong_in_passing(code):
    """Likewise of `--flag value` and `NAME=value`, which are quoted without their command."""
    if re.match(r"[A-Z]+=", code):
        name, value = shlex.split(code)[0].split("=", 1)
        if not re.search(rf"^[a-z]+: takes =.* {name}\b|\$\({name}\)", MAKEFILE, re.MULTILINE):
            return "no variable of the Makefile"
        return wrong_in_passing(value) if name == "ARGS" else None
    targets = re.findall(r"^([a-z]+): takes =", MAKEFILE, re.MULTILINE)
    takes = any(parses([target, *shlex.split(code)]) for target in targets) if code.startswith("--") else True
    return None if takes else "a flag of no command"


def slugs(page):
    """The anchors that GitHub gives to a page's headings."""
    titles = [tokens(page)[i + 1].children for i, token in enumerate(tokens(page)) if token.type == "heading_open"]
    words = ("".join(part.content for part in title).lower() for title in titles)
    return [re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-") for text in words]


def links(page):
    for token in tokens(page):
        if token.type in ("link_open", "image"):
            yield token.attrs.get("href") or token.attrs["src"]
        elif token.type in ("html_block", "html_inline"):
            yield from re.findall(r'(?:src|href)="([^"]*)"', token.content)


def leads_nowhere(page, link):
    """Whether a relative link misses: its file or folder, or the heading in it."""
    path, _, anchor = unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page
    there = target in committed() or any(target in file.parents for file in committed())
    return not there or bool(anchor and anchor not in slugs(target))


def test_the_readme_is_read_in_one_sitting():
    assert len(README.read_text("utf-8").splitlines()) <= 200
    for page in pages():
        for number, line in enumerate(page.read_text("utf-8").splitlines(), start=1):
            assert len(line) <= 120 or line.startswith(("|", "<img ")), f"{page}:{number}"


def test_commands_come_first_and_the_learners_path_is_short():
    text = README.read_text("utf-8")
    assert text.index("$ make train") < text.index("| `quick` |") < 3000
    path = re.search(r"read\s+these\s+six,.*?\.\n", text, re.DOTALL)[0]
    files = re.findall(r"\]\((\S+\.py)\)", path)
    lines = sum(len((ROOT / name).read_text("utf-8").splitlines()) for name in files)
    assert len(files) == 6 and lines < 1000 and abs(lines - int(re.search(r"(\d+) lines", path)[1])) < 60


def test_commands_are_as_the_makefile_and_the_parser_take_them():
    commands = {(page, command) for page in pages() for command in listed(page)}
    passing = {(page, code) for page in pages() for code in quoted(page)}
    commands |= {(page, code) for page, code in passing if COMMAND.match(code)}
    assert len(commands) > 30
    wrong = [(*where, why) for where in sorted(commands) if (why := wrong_in(where[1]))]
    wrong += [(*where, why) for where in sorted(passing) if (why := wrong_in_passing(where[1]))]
    assert not wrong


@pytest.mark.parametrize(
    "command",
    ("make trian", "make train RECPE=fast", "make train KIND=script", "make train RECIPE=fastest",
     'make train ARGS="--epoch-count 3"', "make kernel PUSH=1 ARGS=--force", "python -m competition submit --forced"),
)  # fmt: skip
def test_a_wrong_command_is_seen(command):
    assert wrong_in(command)


@pytest.mark.parametrize("code", ("--forced", "--folds six", "RECPE=fast", 'ARGS="--epoch-count 3"'))
def test_a_wrong_flag_in_passing_is_seen(code):
    assert wrong_in_passing(code)


def test_links_and_pictures_are_there():
    found = [(page, link) for page in pages() for link in links(page) if "://" not in link]
    assert len(found) > 30 and not [where for where in found if leads_nowhere(*where)]


@pytest.mark.parametrize("link", ("competition/digits.py", "submissions/history.csv", "#how-it-is", "/README.md"))
def test_a_broken_link_is_seen(link):
    assert leads_nowhere(README, link)


def reference_runs():
    """The record's rows of reference runs, and of each recipe its newest one; experiments stand there as well."""
    record = read_table(ROOT / "submissions" / "record.csv")
    reference = [row for row in record if row["remark"].startswith("reference run of the recipe")]
    return reference, {row["recipe"]: row for row in reference if row["recipe"] in RECIPES}


def test_the_reference_submissions_are_those_of_the_record():
    _, newest = reference_runs()
    found = {path.name.partition(".")[0]: path for path in (ROOT / "submissions" / "reference").glob("*.csv.gz")}
    assert set(found) == set(newest)
    for recipe, path in found.items():
        assert hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest() == newest[recipe]["sha256"], recipe


def test_the_table_of_recipes_is_that_of_the_record():
    reference, newest = reference_runs()
    lines = re.findall(r"^\| `([\w-]+)` \|.*\|$", (text := README.read_text("utf-8")), re.MULTILINE)
    assert lines == list(newest)
    for recipe, row in newest.items():
        line = re.search(rf"^\| `{recipe}` \|.*", text, re.MULTILINE)[0]
        columns = ("oof_accuracy", "predicted", "predicted_low", "predicted_high", "true_accuracy")
        assert re.findall(r"0\.\d+", line) == [row[column] for column in columns if row[column]], recipe
        chosen = RECIPES[recipe]
        on_all_rows = f", {chosen.refit} on all rows" if chosen.refit else ""
        assert f"| {chosen.folds * chosen.repeats} of the folds{on_all_rows} |" in line, recipe
        spans = re.findall(r"(?:(\d+) h )?(\d+) min (\d+) s", line)
        spans = [3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) for hours, minutes, seconds in spans]
        others = [*newest.values(), *(other for other in reference if other["recipe"] == recipe)]
        others = {int(other["seconds"]) for other in others}  # whose members it shares, or on another machine
        assert int(row["seconds"]) in spans and set(spans) <= others, recipe
    scores = set(re.findall(r"\b0\.9\d{4}\b", text))
    assert scores - {PUBLIC_BEST} <= {value for row in newest.values() for value in row.values()}


def test_every_room_and_module_is_listed():
    for folder, page in [(PACKAGE, README), *((room, room / "README.md") for room in PACKAGE.glob("[a-z]*/"))]:
        names = [path.name + "/" * path.is_dir() for path in folder.glob("[a-z]*") if path.suffix in ("", ".py")]
        missing = [name for name in names if not re.search(rf"^ *{name} ", page.read_text("utf-8"), re.MULTILINE)]
        assert names and not missing, page


def test_the_messages_are_those_that_the_package_prints():
    modules = [path for path in committed() if PACKAGE in path.parents and path.suffix == ".py"]
    nodes = [node for path in modules for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    printed = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    tables = [table for page in pages() for table in MESSAGES.findall(page.read_text("utf-8"))]
    cells = [row.split("|")[1] for table in tables for row in table.splitlines()[2:]]
    messages = [message for cell in cells for message in re.findall("`([^`]+)`", cell)]
    assert len(messages) > 30
    for message in messages:
        assert all(any(part.strip() in text for text in printed) for part in message.split("…")), message
