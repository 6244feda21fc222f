"""What went wrong, in one line: what Kaggle's command line prints → the rule, what was received, the next step."""

import re

from competition.data.constants import PAGE, RULES
from competition.errors import CompetitionError
from competition.kaggle.credentials import found_credentials, redacted

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


# What version 2.2.5 adds to each error of a status, whatever its reason.
HINT = re.compile(
    r"\n\s*(You don't have access to this resource|The resource was not found|You have been rate limited|"
    r"This is a problem on Kaggle's side).*",
    re.DOTALL,
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
    text = HINT.sub("", text)
    lines = [line.strip() for line in text.splitlines() if re.search(telling, line)]
    if "Traceback (most recent call last)" in text:  # whose lines of code name all sorts of failures
        text = lines[-1]
    received = redacted(lines[-1] if lines else "no answer")
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
