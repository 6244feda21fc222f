"""What went wrong, in one line: what Kaggle's command line prints → the rule, what was received, the next step."""

import re

from competition.data.constants import PAGE, RULES
from competition.errors import CompetitionError
from competition.kaggle.credentials import problem_with_credentials, redacted

GET_TOKEN = "`kaggle auth login`, or create a token at https://www.kaggle.com/settings/api and export KAGGLE_API_TOKEN"

# kind, what to look for in the output, the rule that was broken, the next step. The first that fits is shown.
# Kaggle's own words come without the HTTP status, the library's with it: "403 Client Error: Forbidden for url: …".
FAILURES = (
    (
        "credentials",
        r"Authentication required to call|Invalid credentials|\b401 Client|unauthenticated|unauthorized|"
        r"Invalid (leading whitespace|header value|header part)",
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
        "quota",
        r"\b[GT]PU\b.{0,40}(quota|limit|count|hours)|(quota|limit|hours).{0,40}\b[GT]PU\b",
        "A GPU session must be free, and hours of the week's quota left",
        "`kaggle quota` shows the hours left and when new ones come; GPU=none needs neither",
    ),
    (
        "sources",
        r"are not valid (competition|dataset|kernel) sources",
        "Kaggle must be able to attach the kernel's inputs",
        f"accept the rules at {RULES}; a new dataset needs some minutes: `make kernel PUSH=1` again",
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
    (
        "status",
        r"^KeyError: '[A-Z_]+'$",
        "Kaggle's command line must know the status that Kaggle reports",
        "the same command later; pip install --upgrade kaggle may know it",
    ),
    (
        "page",
        r"Expecting value: line 1 column 1 |JSONDecodeError|<html|<!doctype",
        "Kaggle must answer with data",
        "sign in to the network at https://www.kaggle.com in a browser, or set https_proxy; then the same command",
    ),
    (
        "missing",
        r"\b404 Client|not found|does ?n.t exist",
        "Kaggle must know the competition, kernel or dataset",
        f"look at {PAGE}",
    ),
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
        "tls",
        r"SSLError|CERTIFICATE_VERIFY_FAILED|TLS CA certificate",
        "Kaggle's certificate must be trusted",
        "export REQUESTS_CA_BUNDLE=/path/to/ca.pem with the certificate of the proxy in between, then the same command",
    ),
    (
        "network",
        r"ConnectionError|NewConnectionError|Max retries exceeded|NameResolution|ProxyError|"
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
TRANSIENT = ("busy", "network", "timeout", "page")  # kinds after which the same may succeed, or may have arrived


# What version 2.2.5 adds to each error of a status, and to each that it did not expect, whatever its reason.
HINT = re.compile(
    r"\n\s*(You don't have access to this resource|The resource was not found|You have been rate limited|"
    r"This is a problem on Kaggle's side|If this is unexpected, you can re-run).*",
    re.DOTALL,
)


class KaggleError(CompetitionError):
    """Kaggle or its command line refused.

    Attributes:
        kind: a name in FAILURES or `other`.
        retry_after: seconds that Kaggle asks to wait, None where it does not.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind
        self.retry_after: float | None = None


def explain(text: str, quoted: str = r"\S") -> KaggleError:
    """The error behind what the command line printed.

    Args:
        text: all its output.
        quoted: regular expression of the lines to quote; of them the last is.
    """
    text = HINT.sub("", text)
    lines = [line.strip() for line in text.splitlines() if re.search(quoted, line)]
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
        received = problem_with_credentials()
    elif kind == "page":
        received = "a page, not data: a proxy or a login in between"
    return KaggleError(kind, f"{rule}. Received: {received}. Next: {next_step}.")
