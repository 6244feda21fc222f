"""The `kaggle` command line as a few typed functions.

It is called as a subprocess, never imported: `import kaggle` without credentials prints help and creates a
folder. Its exit code is 0 on some failures, so the text counts as well.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from competition.errors import CompetitionError

COMPETITION = "digit-recognizer"
RULES = f"https://www.kaggle.com/competitions/{COMPETITION}/rules"


def has_credentials() -> bool:
    """Whether any form of credentials that the command line takes is there. Nothing is read from them."""
    if os.environ.get("KAGGLE_API_TOKEN") or {"KAGGLE_USERNAME", "KAGGLE_KEY"} <= os.environ.keys():
        return True
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    folders = [os.environ.get("KAGGLE_CONFIG_DIR"), Path.home() / ".kaggle", Path(config) / "kaggle"]
    names = ("kaggle.json", "access_token", "credentials.json")
    return any((Path(folder) / name).is_file() for folder in folders if folder for name in names)


def download(folder: Path) -> Path:
    """Download the competition's zip into a folder.

    Returns:
        The zip.

    Raises:
        CompetitionError: the command failed, in its own words.
    """
    zipped = folder / f"{COMPETITION}.zip"
    output = _kaggle("competitions", "download", "-c", COMPETITION, "-p", str(folder))
    if not zipped.is_file():
        raise CompetitionError(
            f"Kaggle's download must succeed. Received: {output}. Next: accept the rules at {RULES} and check "
            f"your API token, or put {zipped.name}, downloaded by browser, into {folder}."
        )
    return zipped


def _kaggle(*arguments: str) -> str:
    """Run the command line; its last line of output."""
    beside = Path(sys.executable).with_name("kaggle")
    command = str(beside) if beside.exists() else shutil.which("kaggle")
    if command is None:
        raise CompetitionError("The kaggle command line is needed. Received: none. Next: pip install kaggle.")
    try:
        done = subprocess.run(
            [command, *arguments], capture_output=True, text=True, timeout=1800, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-1][:200] if lines else f"exit code {done.returncode}"
