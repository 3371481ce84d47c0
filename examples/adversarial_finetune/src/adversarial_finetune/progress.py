"""Progress on stderr: a line that is renewed on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

TERMINAL_S, ELSEWHERE_S = 0.2, 15.0


@dataclass
class Progress:
    """Says how far something is, and how long the rest will take."""

    begun: dict[str, tuple[float, int]] = field(default_factory=dict)
    said: float = 0.0

    def __call__(
        self, what: str, done: int, total: int, numbers: Mapping[str, float] | None = None
    ) -> None:
        """Say it, if it is time to."""
        now = time.monotonic()
        start, first = self.begun.setdefault(what, (now, done))
        terminal = sys.stderr.isatty()
        if done < total and now - self.said < (TERMINAL_S if terminal else ELSEWHERE_S):
            return
        self.said = now
        found = ", ".join(f"{name} {value:.4g}" for name, value in (numbers or {}).items())
        if done == total:
            rest = f", done in {now - start:.1f} s"
        elif done == first:
            rest = ""
        else:
            rest = f", about {(now - start) / (done - first) * (total - done):.0f} s left"
        line = f"{what}: {done}/{total}{rest}" + (f"; {found}" if found else "")
        end = "\n" if not terminal or done == total else ""
        sys.stderr.write((f"\r\033[K{line}" if terminal else line) + end)
        sys.stderr.flush()
