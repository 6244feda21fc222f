"""Which version of this package is at work: a hash of its files, and the commit."""

import subprocess
from hashlib import sha256

from competition import files
from competition.folders import PACKAGE, ROOT


def sources_sha256() -> str:
    """One hash of the package's own source files."""
    digest = sha256()
    for path in sorted(PACKAGE.glob("*.py")):
        digest.update(f"{path.name} {files.sha256_of(path)}\n".encode())
    return digest.hexdigest()


def git_commit() -> str | None:
    """The commit the package is at, with `+` when files differ from it; None outside git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
