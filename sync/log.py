"""The log: JSON lines, one event each, for whoever runs Mikomi. No personal data and no secret ever stands in it.

    log = get_log(__name__)
    log.warning("connection down", connection="hubspot", cause="Transient")

An event is a fixed phrase; what varies goes into the keys that `sync.redaction` lists. Lines of a run carry its id. What others
log by the standard library (the connectors, libraries from warnings on) goes the same way: of their messages only the
template is kept, never what was filled in.
"""

import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter

from core.errors import InvalidSettings, MikomiError
from sync.audit import current_run
from sync.redaction import keep_allowed
from sync.settings import Loaded, Log

OURS = ("connectors", "core", "sync")
FILE_BYTES = 10_000_000
OLD_FILES = 5
FRAMES = 4
"""Of an exception: how many places, the innermost first."""

_TEMPLATED = "_templated"

Event = MutableMapping[str, Any]

for _name in OURS:  # nobody who only imports us is written to
    logging.getLogger(_name).addHandler(logging.NullHandler())


def get_log(name: str) -> BoundLogger:
    """A logger for one module; `name` is its `__name__`."""
    logger: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _add_run,
            ProcessorFormatter.wrap_for_formatter,
        ],
    )
    return logger


@contextmanager
def logging_to(loaded: Loaded, *, service: bool = False) -> Iterator[None]:
    """Write the log where the settings say, until the block ends.

    Args:
        service: nobody sits before it: without a file everything goes to standard error, and uncaught exceptions go to the log.
            A command says on its own what it does: without a file it logs nothing.

    Raises:
        InvalidSettings: the log file cannot be opened.

    """
    settings = loaded.settings.log
    if settings.file is None and not service:
        yield
        return
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    handler = open_handler(settings, loaded.file.parent, place=loaded.place("log", "file"))
    with attached(handler, level), ExitStack() as stack:
        if service:
            stack.enter_context(_catching())
        yield


@contextmanager
def attached(handler: logging.Handler, level: int) -> Iterator[None]:
    """All loggers write to a handler: ours from `level` on, others from warnings on."""
    root = logging.getLogger()
    before = {name: logging.getLogger(name).level for name in ("", *OURS)}
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        for name, old in before.items():
            logging.getLogger(name).setLevel(old)


def open_handler(settings: Log, folder: Path, *, place: str = "log.file") -> logging.Handler:
    """To the file that the settings name (a relative path starts at `folder`), else to standard error."""
    handler: logging.Handler
    if settings.file is None:
        handler = _Stream()
    else:
        try:
            handler = _File(folder / settings.file)
        except OSError as error:
            hint = "name a file in a folder that exists and that this user may write"
            message = f"the log cannot be written: {error.strerror or error}"
            raise InvalidSettings(message, place=place, hint=hint) from error
    handler.setFormatter(line_formatter(settings.format))
    return handler


def line_formatter(format: str) -> ProcessorFormatter:
    """How a line looks: `json`, or `text` for people."""
    renderer = structlog.processors.JSONRenderer(ensure_ascii=False, sort_keys=False) if format == "json" else _as_text
    return _Lines(
        foreign_pre_chain=[_keep_template, structlog.stdlib.ExtraAdder(), _add_run],
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            _describe_exception,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            ProcessorFormatter.remove_processors_meta,
            keep_allowed,
            _in_order,
            renderer,
        ],
        use_get_message=False,
        keep_exc_info=False,
        keep_stack_info=False,
    )


# --- steps of the pipeline ---------------------------------------------------------------------------------------------


def _add_run(_logger: object, _method: str, event: Event) -> Event:
    if (run := current_run()) is not None:
        event.setdefault("run_id", run)
    return event


def _keep_template(_logger: object, _method: str, event: Event) -> Event:
    """Of a message that others wrote only what stands in their source: what was filled in may be anybody's data."""
    record: logging.LogRecord = event["_record"]
    message = str(record.msg)
    templated = getattr(record, _TEMPLATED, False)
    if not templated and not record.name.startswith(OURS):
        message = _only_words(message)
    event["event"] = message
    return event


def _only_words(message: str) -> str:
    """A finished message without what may have been filled in: quoted parts, numbers, addresses, other scripts."""
    words = (word for word in message.split()[:20] if word.isascii() and word.strip(".,:;()").isalpha())
    return " ".join(words)


def _describe_exception(_logger: object, _method: str, event: Event) -> Event:
    """Type, place and, of our own errors, their sentence: no locals, no payload, no foreign message."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info if isinstance(info, BaseException) else info[1] if info else None
    if error is not None:
        event["error"] = type(error).__name__
        event["where"] = places(error.__traceback__)
        if isinstance(error, MikomiError):
            event["cause"] = error.message
        if error.__cause__ is not None:
            event["caused_by"] = type(error.__cause__).__name__
    return event


def places(trace: TracebackType | None) -> str:
    """Where an exception came from, the innermost place first: `sync/cycle.py:91 < sync/cli/cycle.py:40`."""
    found = []
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        found.append(f"{'/'.join(path.parts[-2:])}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join(found[: -FRAMES - 1 : -1])


_FIRST = ("time", "level", "event", "run_id", "connection")


def _in_order(_logger: object, _method: str, event: Event) -> Event:
    return {key: event[key] for key in (*_FIRST, *sorted(event.keys() - set(_FIRST))) if key in event}


def _as_text(_logger: object, _method: str, event: Mapping[str, Any]) -> str:
    rest = " ".join(f"{key}={value}" for key, value in event.items() if key not in {"time", "level", "event", "logger"})
    at = datetime.fromisoformat(str(event["time"])).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S} {event['level']:7} {event['event']}{'  ' if rest else ''}{rest}"


class _Lines(ProcessorFormatter):
    """Remembers whether a message was a template: structlog takes the arguments away before its processors look."""

    def format(self, record: logging.LogRecord) -> str:
        if not isinstance(record.msg, dict):
            setattr(record, _TEMPLATED, bool(record.args) or getattr(record, _TEMPLATED, False))
        return super().format(record)


# --- where it goes -----------------------------------------------------------------------------------------------------


class _Quiet(logging.Handler):
    """A handler that cannot write says so once, without the record: it would show what the pipeline takes out."""

    _said = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the signature is logging's
        if not self._said and sys.stderr is not None:
            self._said = True
            sys.stderr.write(f"the log cannot be written: {type(sys.exc_info()[1]).__name__}\n")

    def flush(self) -> None:
        """What cannot be written is lost, never the run."""
        with suppress(OSError, ValueError):
            super().flush()


class _Stream(_Quiet, logging.StreamHandler[TextIO]):
    """Standard error, whatever it is by then."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)


class _File(_Quiet, RotatingFileHandler):
    """A file that only its owner reads, rotated."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> Any:
        def private(path: str, flags: int) -> int:
            number = os.open(path, flags, 0o600)
            os.fchmod(number, 0o600)
            return number

        return open(self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=private)


@contextmanager
def _catching() -> Iterator[None]:
    """What nobody caught goes to the log, by type and place: a traceback's message may hold anything."""
    log = get_log("sync.log")

    def caught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.error("ended by an error of the program", exc_info=(kind, error, trace))

    def caught_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            log.error(
                "a thread ended by an error of the program",
                exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
                job=args.thread.name if args.thread else "",
            )

    before, before_threads = sys.excepthook, threading.excepthook
    sys.excepthook, threading.excepthook = caught, caught_in_thread
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook = before, before_threads
