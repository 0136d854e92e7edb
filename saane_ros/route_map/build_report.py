"""What became of the frames of a map that was built."""

from __future__ import annotations

from dataclasses import dataclass, field

NAMED_IN_SUMMARY = 5


@dataclass
class BuildReport:
    """What became of the frames.

    embedded: frames that went through the network.  continued: frames that an interrupted build
    had embedded.  skipped: name and reason of every frame left out.  no_points: why the map has
    none, although it was to; empty where it has.  moved: how far its poses were adjusted for them;
    empty where they were not.
    """

    embedded: int = 0
    continued: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    no_points: str = ""
    moved: str = ""

    def skip(self, name: str, stamp_ns: int, reason: str) -> None:
        """Note a frame that is left out."""
        self.skipped.append((name or f"frame at {stamp_ns} ns", reason))

    def summary(self) -> str:
        """One line per fact, the skipped frames by name."""
        lines = [f"{self.embedded} frames embedded"]
        if self.continued:
            lines.append(f"{self.continued} frames taken over from an interrupted build")
        if self.skipped:
            named = [f"{name} ({why})" for name, why in self.skipped[:NAMED_IN_SUMMARY]]
            more = len(self.skipped) - len(named)
            listed = ", ".join(named) + (f" and {more} more" if more else "")
            lines.append(f"{len(self.skipped)} frames skipped: {listed}")
        lines += [line for line in (self.no_points, self.moved) if line]
        return "\n".join(lines)
