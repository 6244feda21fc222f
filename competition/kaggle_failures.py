"""What went wrong, in one line: what Kaggle's command line prints → the rule, what was received, the next step."""

import json
import os
import re
import sys
from pathlib import Path

from competition.errors import CompetitionError

COMPETITION = "digit-recognizer"
PAGE = f"https://www.kaggle.com/competitions/{COMPETITION}"
RULES = f"{PAGE}/rules"
GET_TOKEN = "`kaggle auth login`, or create a token at https://www.kaggle.com/settings/api and export KAGGLE_API_TOKEN"

# kind, what to look for in the output, the rule that was broken, the next step. The first that fits is told.
# Kaggle's own words come without the HTTP status, the library's with it: "403 Client Error: Forbidden for url: …".
FAILURES = (
    (
        "credentials",
        r"Authentication required to call|Invalid credentials|\b401 Client|unauthenticated|unauthorized",
        "Kaggle must accept your credentials",
        GET_TOKEN,
    ),
    (
        "phone",
        r"verif\w* .{0,40}(phone|account)|(phone|account) .{0,40}verif",
        "Kaggle wants a verified phone number",
        "verify it at https://www.kaggle.com/settings (Phone verification)",
    ),
    (
        "rules",
        r"accept\w* .{0,40}\brules\b|\brules\b .{0,40}accept",
        "The competition's rules must be accepted",
        f"accept them at {RULES}",
    ),
    (
        "busy",
        r"\b429 Client|too many requests|rate.?limit|\b5\d\d Server Error|internal (server )?error|"
        r"bad gateway|service unavailable|gateway time-?out|try again later",
        "Kaggle must be able to answer",
        "the same command in some minutes; nothing is lost",
    ),
    ("missing", r"\b404 Client|not found|does ?n.t exist", "Kaggle must know what is asked for", f"look at {PAGE}"),
    (
        "forbidden",
        r"\b403 Client|forbidden|permission .{0,60}denied|Cannot access kernel",
        "Your Kaggle account must be allowed to do this",
        f"join the competition and accept its rules at {RULES}",
    ),
    ("timeout", r"^no answer in|Read timed out", "Kaggle must answer in time", "the same command; nothing is lost"),
    (
        "disk",
        r"No space left|Disk quota|File too large",
        "There must be room on the disk",
        "free some 500 MB and give the same command; what arrived is kept",
    ),
    (
        "network",
        r"ConnectionError|NewConnectionError|Max retries exceeded|NameResolution|ProxyError|SSLError|"
        r"Connection (refused|reset|aborted|broken)|RemoteDisconnected|ChunkedEncodingError|ProtocolError|"
        r"IncompleteRead|does not match expected size|Network is unreachable",
        "Kaggle must be reachable",
        "check the network (and http_proxy/https_proxy), then the same command; what arrived is kept",
    ),
    (
        "upload",
        r"Could not submit to competition",
        "Kaggle must take the file",
        f"the same command; nothing was submitted, as {PAGE}/submissions shows",
    ),
)


class KaggleError(CompetitionError):
    """Kaggle or its command line refused; `kind` is a name in FAILURES or `other`."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


def explain(text: str, telling: str = r"\S") -> KaggleError:
    """The error behind what the command line printed.

    Args:
        text: all its output.
        telling: regular expression of the lines to quote; of them the last is.
    """
    lines = [line.strip() for line in text.splitlines() if re.search(telling, line)]
    if "Traceback (most recent call last)" in text:  # whose lines of code name all sorts of failures
        text = lines[-1]
    received = _harmless(lines[-1] if lines else "no answer")
    kind, rule, next_step = next(
        (
            (kind, rule, next_step)
            for kind, pattern, rule, next_step in FAILURES
            if re.search(pattern, text, re.IGNORECASE | re.MULTILINE)
        ),
        ("other", "Kaggle must accept the command", f"look at {PAGE}"),
    )
    if kind == "credentials":
        found = found_credentials()
        received = f"those in {found[0]} are wrong, expired or unreadable" if found else "none"
    return KaggleError(kind, f"{rule}. Received: {received}. Next: {next_step}.")


def found_credentials() -> list[str]:
    """Where credentials are, in the order in which the command line takes them."""
    token, kaggle = os.environ.get("KAGGLE_API_TOKEN"), Path.home() / ".kaggle"
    found = ["KAGGLE_API_TOKEN"] * bool(token)
    found += [str(path) for path in _token_files() if _is_file(path)]
    if {"KAGGLE_USERNAME", "KAGGLE_KEY"} <= os.environ.keys():
        found.append("KAGGLE_USERNAME and KAGGLE_KEY")
    found += [str(path) for path in (_kaggle_json(), kaggle / "credentials.json") if path.is_file()]
    return found


def warn_of_readable_credentials() -> None:
    """Warn, once, of each credentials file that other users of the machine can read."""
    for path in map(Path, found_credentials()):
        if _is_file(path) and path.stat().st_mode & 0o077:
            _say_once(f"Warning: other users can read your Kaggle credentials. Next: chmod 600 {path}")


def without_warnings(output: str) -> str:
    """The command line's output less its warnings; the user sees them once, on stderr."""
    lines = output.splitlines()
    for line in lines:
        if line.startswith("Warning:") and "readable by other" not in line:  # that one is ours, for every file
            _say_once(_harmless(line))
    return "\n".join(line for line in lines if not line.startswith("Warning:"))


_SAID: set[str] = set()


def _say_once(line: str) -> None:
    if line not in _SAID:
        _SAID.add(line)
        print(line, file=sys.stderr)


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


def _harmless(line: str) -> str:
    """A line fit to be shown: no signed addresses, no credentials, not too long."""
    line = re.sub(r"(https?://[^\s?]+|/[^\s?]+)\?\S+", r"\1", line)
    line = re.sub(r"\b(Basic|Bearer) \S+", r"\1 …", line)
    for secret in _secrets():
        line = line.replace(secret, "…")
    return line[:300].rstrip(".")


def _secrets() -> set[str]:
    """The credentials themselves, to keep them out of messages."""
    secrets = {os.environ.get("KAGGLE_KEY"), os.environ.get("KAGGLE_API_TOKEN")}
    for path in (*_token_files(), _kaggle_json(), Path.home() / ".kaggle" / "credentials.json"):
        try:
            text = path.read_text("utf-8").strip()
            content = json.loads(text) if text.startswith("{") else {"token": text}
            secrets |= {content.get(name) for name in ("key", "token", "access_token", "refresh_token")}
        except (OSError, ValueError):
            continue
    return {secret for secret in secrets if isinstance(secret, str) and len(secret) > 3}
