"""Storage URLs: spelled as SQLAlchemy wants them, and shown without what is secret in them."""

import re
from pathlib import Path
from urllib.parse import unquote

from search_spaces import InputError

GIVE = "give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
SPELLED = {"postgres": "postgresql", "pgsql": "postgresql", "psql": "postgresql"}
FILES = ("sqlite3", "file")  # how people spell sqlite
OTHERS = ("redis", "rediss", "journal", "grpc", "mongodb", "http", "https")
DRIVERS = {
    "psycopg": "pip install 'temporal-nas[postgresql]'",
    "MySQLdb": "pip install pymysql, and write mysql+pymysql://",
}


def check_url(url: str) -> None:
    """Refuse a URL of no database, or of one that does not outlive the process.

    Raises:
        InputError: says how to spell it.
    """
    fault = _fault(url)
    if fault:
        raise InputError(f"storage {public_url(url)}: {fault}")


def public_url(url: str) -> str:
    """A storage URL without its credentials."""
    scheme, separator, rest = url.partition("://")
    shown = rest.rpartition("@")[2].partition("?")[0]
    if not scheme.startswith("sqlite"):  # user:password, where the host was forgotten
        shown = re.sub(r"^([^/\[\]]*):(?!\d*(?:/|$))[^/]*", r"\1:***", shown)
    return f"{scheme}{separator}{shown}"


def reason_of(error: BaseException, url: str) -> str:
    """What went wrong at the bottom, in a line without credentials."""
    error = _bottom(error)
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return text


def mend_of(error: BaseException, url: str) -> str:
    """What to do about a database that cannot be opened; empty where the reason says it."""
    error = _bottom(error)
    if type(error).__name__ == "NoSuchModuleError":  # SQLAlchemy's, of a dialect
        return f"; {GIVE}"
    if not isinstance(error, ImportError):
        return ""
    name = (error.name or "").partition(".")[0]
    mend = DRIVERS.get(name, f"pip install {name}")
    if _dialect(url) == "postgresql" and name != "psycopg":
        mend = f"write postgresql+psycopg://, whose driver comes by {DRIVERS['psycopg']}"
    return f"; its driver is not installed: {mend}"


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL; None for other databases and for SQLite's own URIs."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", url)
    return Path(match[1]) if match and not match[1].startswith(("file:", ":memory:")) else None


def _fault(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _no_url(url)
    spelled = _spelled(scheme, rest)
    if spelled:
        return f"is spelled {spelled}"
    if _dialect(url) in OTHERS:
        return f"is none of the databases that a study is kept in; {GIVE}"
    return _sqlite_fault(rest, url) if _dialect(url) == "sqlite" else _server_fault(rest)


def _no_url(text: str) -> str:
    scheme, colon, path = text.partition(":")
    if not text.strip():
        return f"is empty; {GIVE}"
    if colon and scheme in ("sqlite", *FILES):
        return f"has too few slashes; write sqlite:///{path}"
    if colon and scheme.partition("+")[0] in ("postgresql", "mysql", "mariadb", *SPELLED):
        return f"has too few slashes; {GIVE}"
    return f"is no URL; of a file it is sqlite:///{text}"


def _spelled(scheme: str, rest: str) -> str:
    """How another scheme is spelled; empty where it is spelled well."""
    dialect, plus, driver = scheme.lower().partition("+")
    if dialect in FILES:
        return f"sqlite:///{rest if dialect == 'file' else rest.lstrip('/')}"
    wanted = f"{SPELLED.get(dialect, dialect)}{plus}{driver}"
    return "" if scheme == wanted else f"{wanted}://"


def _sqlite_fault(rest: str, url: str) -> str:
    if rest in ("", "/") or ":memory:" in rest or "mode=memory" in rest:
        return (
            "is in memory, so nothing would be left of the study; write sqlite:///FILE, or leave "
            "the storage out"
        )
    if not rest.startswith("/"):
        return f"has too few slashes; write sqlite:///{rest} (four before an absolute path)"
    path = sqlite_file(url)
    if path is not None and path.is_dir():
        return f"is a folder; name a file in it, as {url.rstrip('/')}/study.db"
    if path is not None and not path.parent.is_dir():
        return f"its folder {path.parent} does not exist; make it first"
    return ""


def _server_fault(rest: str) -> str:
    credentials, _, address = rest.partition("?")[0].rpartition("@")
    if re.search(r"[@/#\s]", credentials):
        return "write what is special in its user and password by percent signs: @ as %40, / as %2F"
    port = re.match(r"[^/\[\]]*:(?!\d*(?:/|$))", address)
    return f"its port is no number; {GIVE}" if port else ""


def _bottom(error: BaseException) -> BaseException:
    """What an error came of in the end."""
    while (cause := getattr(error, "orig", None) or error.__cause__) is not None:
        error = cause
    return error


def _dialect(url: str) -> str:
    return url.partition("://")[0].partition("+")[0].lower()


def _secrets(url: str) -> list[str]:
    """What in a URL must not be shown: what stands before the host, and values after it."""
    rest = url.partition("://")[2]
    before, _, after = rest.rpartition("@")
    found = [before, *before.split(":")[1:], *re.findall(r"=([^&]*)", after)]
    spelled = {secret for each in found for secret in (each, unquote(each)) if secret}
    return sorted(spelled, key=len, reverse=True)
