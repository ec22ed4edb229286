"""What is found amiss with released records, and what is done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LEFT_OUT, PROBE_LEFT_OUT, KEPT = "record left out", "probe left out", "kept"


@dataclass
class Report:
    """What was found amiss, by kind, field and what was done about it: the records and what was found in each."""

    found: dict[tuple[str, str, str], list[tuple[str, str]]] = field(default_factory=dict)

    def note(self, kind: str, name: str, done: str, record: str, found: Any = "") -> None:
        """An anomaly of this kind in the field `name` of a record, what was found there, and what was done about it."""
        self.found.setdefault((kind, name, done), []).append((record, str(found)))

    def main_reason(self) -> str:
        """Why most records were left out, with an example."""
        left_out = {key: records for key, records in self.found.items() if key[2] == LEFT_OUT}
        if not left_out:
            return "it has none"
        (kind, name, _), records = max(left_out.items(), key=lambda item: len(item[1]))
        return f"{len(records)} times {kind}, field '{name}', as in {records[0][0]}: {records[0][1]}"

    def as_json(self) -> list[dict[str, Any]]:
        """Anomalies with all their records, as `report.json` has them."""
        return [
            {
                "kind": kind,
                "field": name,
                "done": done,
                "count": len(records),
                "records": [{"id": record, "found": found} for record, found in records],
            }
            for (kind, name, done), records in sorted(self.found.items())
        ]

    def as_table(self) -> str:
        """A line an anomaly: how often it was found, and where first."""
        head = ("anomaly", "field", "done", "count", "first")
        rows = [(k, f, d, f"{len(r):,}", r[0][0]) for (k, f, d), r in sorted(self.found.items())]
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows))
        return "\n".join(lines) if rows else "no anomalies"
