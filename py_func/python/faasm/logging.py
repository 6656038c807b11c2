"""The host's log as a handler of the standard module `logging`.

    import logging
    import faasm.logging

    logging.basicConfig(handlers=[faasm.logging.Handler()], level=logging.INFO, format="%(name)s: %(message)s")

A module of its own, because `import faasm` does not import `logging`.
"""

from __future__ import annotations

import logging

import faasm

__all__ = ["Handler"]


class Handler(logging.Handler):
    """Gives records to `faasm.log`. The host adds level, time, user and function, so the format needs none of them."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            faasm.log(record.levelno, self.format(record))
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)
