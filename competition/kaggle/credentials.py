"""Where Kaggle's command line finds credentials, and how to keep them out of what is shown."""

import json
import os
import re
import sys
from pathlib import Path


def found_credentials() -> list[str]:
    """Where credentials are, in the order in which the command line takes them."""
    kaggle = Path.home() / ".kaggle"
    found = ["KAGGLE_API_TOKEN"] if os.environ.get("KAGGLE_API_TOKEN") else []
    found += [str(path) for path in _token_files() if _is_file(path)]
    if {"KAGGLE_USERNAME", "KAGGLE_KEY"} <= os.environ.keys():
        found.append("KAGGLE_USERNAME and KAGGLE_KEY")
    found += [str(path) for path in (_kaggle_json(), kaggle / "credentials.json") if path.is_file()]
    return found


def problem_with_credentials() -> str:
    """Why Kaggle refused them, as far as it shows: where they are, and what is wrong with their form."""
    found = found_credentials()
    if not found:
        return "none"
    place = found[0]
    if place == str(_kaggle_json()) and not _holds_key(_kaggle_json()):
        return f"{place}, which holds no key"
    text = os.environ["KAGGLE_API_TOKEN"] if place == "KAGGLE_API_TOKEN" else _text(Path(place))
    if place in ("KAGGLE_API_TOKEN", *map(str, _token_files())) and len(text.split()) > 1:
        return f"the token in {place}, which has a space or a line break in it"
    return f"those in {place} are wrong, expired or unreadable"


def readable_by_others() -> list[Path]:
    """The files of credentials that other users of the machine can read."""
    found = [path for path in map(Path, found_credentials()) if _is_file(path)]
    return [path for path in found if path.stat().st_mode & 0o077]


def redacted(line: str) -> str:
    """A line fit to be shown: no signed addresses, no credentials, not too long."""
    line = re.sub(r"(https?://[^\s?]+|/[^\s?]+)\?\S+", r"\1", line)
    line = re.sub(r"\b(Basic|Bearer) \S+", r"\1 …", line)
    for secret in _secrets():
        line = line.replace(secret, "…")
    return line[:300].rstrip(".")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError):
        return ""


def _holds_key(path: Path) -> bool:
    try:
        content = json.loads(_text(path))
    except ValueError:
        return False
    return isinstance(content, dict) and bool(content.get("username")) and bool(content.get("key"))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a token where a path may stand is no file name
        return False


def _kaggle_json() -> Path:
    """Where the command line looks for it."""
    home = Path.home() / ".kaggle"
    if not home.exists() and sys.platform.startswith("linux"):
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    return Path(os.environ.get("KAGGLE_CONFIG_DIR") or home) / "kaggle.json"


def _token_files() -> list[Path]:
    named = [Path(os.environ["KAGGLE_API_TOKEN"])] if os.environ.get("KAGGLE_API_TOKEN") else []
    return [*named, *(Path.home() / ".kaggle" / name for name in ("access_token", "access_token.txt"))]


def _secrets() -> set[str]:
    """The credentials themselves, to keep them out of messages."""
    secrets = {os.environ.get("KAGGLE_KEY"), os.environ.get("KAGGLE_API_TOKEN")}
    for path in (*_token_files(), _kaggle_json(), Path.home() / ".kaggle" / "credentials.json"):
        try:
            text = _text(path).strip()
            content = json.loads(text) if text.startswith("{") else {"token": text}
            secrets |= {content.get(name) for name in ("key", "token", "access_token", "refresh_token")}
        except ValueError:
            continue
    return {secret for secret in secrets if isinstance(secret, str) and len(secret) > 3}
