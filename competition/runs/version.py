"""Which version of this package is at work: a hash of its files, and the commit."""

import ast
import re
import subprocess
from hashlib import sha256
from pathlib import Path

from competition.runs import files
from competition.runs.folders import PACKAGE, ROOT


def package_files() -> list[Path]:
    """Code and templates that a run needs, sorted: what a kernel packs and a run's identity holds. No READMEs, no
    studies: nothing of a run is computed there."""
    return sorted(
        path
        for path in PACKAGE.rglob("*")
        if path.is_file()
        and path.suffix != ".md"
        and path.relative_to(PACKAGE).parts[0] != "studies"
        and not any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(PACKAGE).parts)
    )


def package_sha256() -> str:
    """One hash of all these files and of where they lie."""
    digest = sha256()
    for path in package_files():
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {files.sha256_of(path)}\n".encode())
    return digest.hexdigest()


def code_sha256(*parts: str) -> str:
    """One hash of what some rooms or modules say to Python: comments and line breaks change nothing of it.

    Args:
        parts: like `network` or `ensemble/scoring`.
    """
    wanted = tuple(f"{part}/" for part in parts)

    def of_them(path: Path) -> bool:
        return f"{path.relative_to(PACKAGE).with_suffix('').as_posix()}/".startswith(wanted)

    chosen = [path for path in package_files() if of_them(path) and path.suffix == ".py"]
    return sha256("\n".join(ast.dump(ast.parse(path.read_text("utf-8"))) for path in chosen).encode()).hexdigest()


def repository_url() -> str:
    """The page of the repository that this checkout was cloned from, where a public host has it; else empty."""
    try:
        command = ["git", "-C", str(ROOT), "remote", "get-url", "origin"]
        remote = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
    hosts = r"github\.com|gitlab\.com|codeberg\.org"  # no company's own, which is nobody's affair; no credentials
    found = re.search(rf"(?:^|[/@])({hosts})[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?$", remote)
    return f"https://{found[1]}/{found[2]}" if found else ""


def git_commit() -> str | None:
    """The commit the package is at, with `+` when files differ from it; None outside git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
